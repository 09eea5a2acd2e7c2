"""Quantization-aware training: the paper's Appendix B.4, and on to an integer ONNX file.

Put `tasks.qat` beside `tasks.classification` under a config's `custom_imports`. In a loop of one's
own::

    network = convert(float_network, Policy(weight_bits=2, activation_bits=4))
    calibrate(network, batches)
    method = SAM(optimizer, network, rho=0.05, exclude=[STEPS])
    join(network, method)
    guard = StepGuard(network)
    for images, labels in loader:
        method.step(lambda: F.cross_entropy(network(images), labels, reduction="none"))
        guard.limit()
    reestimate(network, batches)
    integers = lower(network)             # tasks.qat.deploy.lower
"""

from tasks.qat.batch_norm import reestimate
from tasks.qat.calibration import calibrate
from tasks.qat.check import check_config
from tasks.qat.classifier import QuantizedClassifier
from tasks.qat.convert import convert
from tasks.qat.hooks import BatchNormReestimationHook, QuantizationHook
from tasks.qat.network import QuantizedNetwork
from tasks.qat.optimizer import QuantizationOptimWrapperConstructor
from tasks.qat.oscillation import Oscillation, dampen
from tasks.qat.policy import Policy
from tasks.qat.sharpness import STEPS, join
from tasks.qat.step_guard import StepGuard

__all__ = [
    "STEPS",
    "BatchNormReestimationHook",
    "Oscillation",
    "Policy",
    "QuantizationHook",
    "QuantizationOptimWrapperConstructor",
    "QuantizedClassifier",
    "QuantizedNetwork",
    "StepGuard",
    "calibrate",
    "check_config",
    "convert",
    "dampen",
    "join",
    "reestimate",
]
