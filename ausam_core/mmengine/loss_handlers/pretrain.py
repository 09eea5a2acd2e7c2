"""MMPretrain's losses of classes, of several labels, and of masked images."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ausam_core.mmengine.loss_handlers.arguments import arguments
from ausam_core.per_sample_loss import register_per_sample_loss
from ausam_core.torch_losses import per_sample

_LOSSES = "mmpretrain.models.losses."
_SETTINGS = ("weight", "avg_factor", "reduction_override")


@register_per_sample_loss(
    _LOSSES + "cross_entropy_loss.CrossEntropyLoss",
    _LOSSES + "label_smooth_loss.LabelSmoothLoss",
    _LOSSES + "focal_loss.FocalLoss",
    _LOSSES + "asymmetric_loss.AsymmetricLoss",
)
def classes(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Losses that are given unreduced on request, one a sample or one a label."""
    settings = dict(zip(_SETTINGS, args[2:], strict=False)) | kwargs
    losses = module.forward(*args[:2], **_unreduced(settings))
    return _reduced(losses, module, settings)


@register_per_sample_loss(_LOSSES + "seesaw_loss.SeesawLoss")
def seesaw(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Seesaw: from its criterion, because its forward counts the samples that it has seen."""
    score, labels, weight, avg_factor, override = arguments(
        args, kwargs, "cls_score", "labels", *_SETTINGS
    )
    counts = (module.cum_samples, module.num_classes, module.p, module.q, module.eps)
    losses = module.cls_criterion(score, labels, weight, *counts, "none", None)
    settings = dict(avg_factor=avg_factor, reduction_override=override)
    return _reduced(losses * module.loss_weight, module, settings)


@register_per_sample_loss(_LOSSES + "reconstruction_loss.PixelReconstructionLoss")
def pixels(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Masked images: over the number of masked patches in the whole batch."""
    pred, target, mask = arguments(args, kwargs, "pred", "target", "mask")
    losses = module.penalty(pred, target)
    if losses.dim() == 3:
        losses = losses.mean(-1)
    if mask is None:
        return losses.flatten(1).mean(1)
    return _over_mask(losses, mask) / module.channel


@register_per_sample_loss(_LOSSES + "cosine_similarity_loss.CosineSimilarityLoss")
def cosine(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Angles of features; with a mask over the number of masked ones in the whole batch."""
    pred, target, mask = arguments(args, kwargs, "pred", "target", "mask")
    cosines = (F.normalize(pred, dim=-1) * F.normalize(target, dim=-1)).sum(-1)
    losses = module.shift_factor - module.scale_factor * cosines
    return per_sample(losses, "mean") if mask is None else _over_mask(losses, mask)


def _unreduced(settings: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in settings.items() if k not in ("avg_factor", "reduction_override")}
    return dict(kept, reduction_override="none")


def _reduced(losses: Tensor, module: Any, settings: dict[str, Any]) -> Tensor:
    """Losses of samples or labels to ``[N]``, so that their mean is what the module returned."""
    reduction = settings.get("reduction_override") or module.reduction
    factor = settings.get("avg_factor")
    if reduction == "mean" and factor is not None:
        losses = per_sample(losses, "sum")
        ours = isinstance(factor, int) and factor == len(losses)
        return losses if ours else losses * (len(losses) / factor)
    return per_sample(losses, reduction)


def _over_mask(losses: Tensor, mask: Tensor) -> Tensor:
    losses = losses * mask
    return losses.reshape(len(losses), -1).sum(1) * (len(losses) / mask.sum())
