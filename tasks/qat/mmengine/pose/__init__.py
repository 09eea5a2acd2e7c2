"""Quantized SimCC pose estimators: the only part of `tasks.qat` that imports `tasks.pose`.

A config names it beside the others under ``custom_imports``: it registers the estimator.
"""

from tasks.qat.mmengine.pose.estimator import QuantizedPoseEstimator

__all__ = ["QuantizedPoseEstimator"]
