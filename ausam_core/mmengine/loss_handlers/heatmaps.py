"""MMPose's losses of heatmaps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ausam_core.loss_slices import all_at_once
from ausam_core.mmengine.loss_handlers.arguments import arguments
from ausam_core.per_sample_loss import register_per_sample_loss

_HERE = "mmpose.models.losses.heatmap_loss."
_NAMES = ("output", "target", "target_weights", "mask")

register_per_sample_loss(
    _HERE + "AdaptiveWingLoss", _HERE + "CombinedTargetMSELoss", _HERE + "KeypointOHKMMSELoss"
)(all_at_once)


@register_per_sample_loss(_HERE + "KeypointMSELoss")
def heatmap_mse(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Squared error under the module's mask, averaged over joints and pixels."""
    output, target, target_weights, mask = arguments(args, kwargs, *_NAMES)
    error = F.mse_loss(output, target, reduction="none")
    weight = module._get_mask(target, target_weights, mask)
    if weight is not None:
        error = error * weight
    return error.flatten(1).mean(1) * module.loss_weight


@register_per_sample_loss(_HERE + "FocalHeatmapLoss")
def focal_heatmap(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Focal loss over the number of peaks in the whole batch, where there are any."""
    output, target, target_weights, mask = arguments(args, kwargs, *_NAMES)
    positive, negative = target.eq(1).to(output), target.lt(1).to(output)
    weight = module._get_mask(target, target_weights, mask)
    if weight is not None:
        positive, negative = positive * weight, negative * weight
    gain = output.log() * (1 - output) ** module.alpha * positive
    gain = gain + (1 - output).log() * output**module.alpha * negative * (1 - target) ** module.beta
    peaks = positive.sum()
    share = len(output) / torch.where(peaks == 0, 1, peaks)
    return -gain.flatten(1).sum(1) * share * module.loss_weight
