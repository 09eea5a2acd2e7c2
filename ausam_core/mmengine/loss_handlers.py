"""The loss of each sample for the loss modules of the OpenMMLab packages.

Registered by full name: nothing of those packages is imported. They stand here and not with a task,
so that one line of ``custom_hooks`` is enough in any project. Each handler calls the module's own
parts, so the module's settings (temperature, masks, weights) hold.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ausam_core.per_sample_loss import register_per_sample_loss


@register_per_sample_loss("mmpose.models.losses.classification_loss.KLDiscretLoss")
def simcc(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """SimCC: the divergences of the x and y distributions, summed over joints, divided by K.

    The module sums over the batch as well, so the sum of these is what it returns.
    """
    pred_simcc, gt_simcc, target_weight = _arguments(
        args, kwargs, "pred_simcc", "gt_simcc", "target_weight"
    )
    n, k, _ = pred_simcc[0].shape
    weight = target_weight.reshape(n, k) if module.use_target_weight else 1.0
    total = 0.0
    for pred, target in zip(pred_simcc, gt_simcc, strict=True):
        joints = module.criterion(pred.flatten(0, 1), target.flatten(0, 1)).reshape(n, k) * weight
        if module.mask is not None:
            joints[:, module.mask] *= module.mask_weight
        total = total + joints.sum(1)
    return total / k


@register_per_sample_loss("mmpose.models.losses.heatmap_loss.KeypointMSELoss")
def heatmap_mse(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Heatmaps: squared error under the module's mask, averaged over joints and pixels."""
    names = ("output", "target", "target_weights", "mask")
    output, target, target_weights, mask = _arguments(args, kwargs, *names)
    error = (output - target).square()
    weight = module._get_mask(target, target_weights, mask)
    if weight is not None:
        error = error * weight
    return error.flatten(1).mean(1) * module.loss_weight


@register_per_sample_loss(
    "mmpretrain.models.losses.cross_entropy_loss.CrossEntropyLoss",
    "mmpretrain.models.losses.label_smooth_loss.LabelSmoothLoss",
    "mmpretrain.models.losses.focal_loss.FocalLoss",
)
def mmpretrain(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """MMPretrain's classification losses give the loss of each sample on request."""
    settings = {k: v for k, v in kwargs.items() if k not in ("avg_factor", "reduction_override")}
    losses = module.forward(*args[:2], reduction_override="none", **settings)
    return losses.flatten(1).sum(1) if losses.dim() > 1 else losses


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> list[Any]:
    """Arguments by name, however they were passed; None for those left out."""
    given = dict(zip(names, args, strict=False)) | kwargs
    return [given.get(name) for name in names]
