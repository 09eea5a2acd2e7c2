"""Quantization-aware training: the paper's Appendix B.4, and on to an integer ONNX file.

From a float network to the file, in plain PyTorch::

    network = quantize(model, images, Policy(weight_bits=2, activation_bits=4))
    calibrate(network, loader)
    method = SAM(optimizer, network, rho=0.05, exclude=[STEPS])
    adapt_to_method(network, method)
    for images, labels in loader:
        method.step(lambda: F.cross_entropy(network(images), labels, reduction="none"))
    export(network, images, "model.onnx")

For MMEngine put `tasks.qat.mmengine` beside `tasks.classification` under a config's
`custom_imports`.
"""

from tasks.qat.calibration import calibrate
from tasks.qat.check import check_config
from tasks.qat.convert import convert
from tasks.qat.hold import hold_weights
from tasks.qat.method import adapt_to_method
from tasks.qat.network import QuantizedNetwork
from tasks.qat.oscillation import Oscillation, dampen
from tasks.qat.policy import Policy
from tasks.qat.quantize import export, quantize
from tasks.qat.steps import STEPS
from tasks.qat.weights import load_weights

__all__ = [
    "STEPS",
    "Oscillation",
    "Policy",
    "QuantizedNetwork",
    "adapt_to_method",
    "calibrate",
    "check_config",
    "convert",
    "dampen",
    "export",
    "hold_weights",
    "load_weights",
    "quantize",
]
