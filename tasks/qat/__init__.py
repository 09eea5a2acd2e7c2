"""Quantization-aware training: the paper's Appendix B.4, and on to an integer ONNX file.

In a loop of one's own, in plain PyTorch::

    network = convert(float_network, Policy(weight_bits=2, activation_bits=4))
    calibrate(network, loader)
    method = SAM(optimizer, network, rho=0.05, exclude=[STEPS])
    adapt_to_method(network, method)
    for images, labels in loader:
        method.step(lambda: F.cross_entropy(network(images), labels, reduction="none"))
    integers = lower(network)             # tasks.qat.deploy.lower

For MMEngine put `tasks.qat.mmengine` beside `tasks.classification` under a config's
`custom_imports`.
"""

from tasks.qat.calibration import calibrate
from tasks.qat.check import check_config
from tasks.qat.convert import convert
from tasks.qat.method import adapt_to_method
from tasks.qat.network import QuantizedNetwork
from tasks.qat.oscillation import Oscillation, dampen
from tasks.qat.policy import Policy
from tasks.qat.steps import STEPS

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
]
