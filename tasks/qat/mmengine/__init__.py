"""Quantized training in MMEngine: the only part of `tasks.qat` that imports it.

Importing this registers the classifier, the hook and the constructor of the optimizer.
"""

from ausam_core.mmengine.batch_norm_hook import BatchNormReestimationHook
from tasks.qat.mmengine.batch_norm_last import BatchNormLastHook
from tasks.qat.mmengine.classifier import QuantizedClassifier
from tasks.qat.mmengine.optimizer import QuantizationOptimWrapperConstructor
from tasks.qat.mmengine.quantization_hook import QuantizationHook

__all__ = [
    "BatchNormLastHook",
    "BatchNormReestimationHook",
    "QuantizationHook",
    "QuantizationOptimWrapperConstructor",
    "QuantizedClassifier",
]
