"""The loss of each sample for torch's own loss modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.per_sample_loss import register_per_sample_loss


def _unreduced(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Torch's own losses: the same module with ``reduction="none"``."""
    reduction = module.reduction
    module.reduction = "none"
    try:
        losses = module.forward(*args, **kwargs)
    finally:
        module.reduction = reduction
    per_sample = losses.flatten(1) if losses.dim() > 1 else losses[:, None]
    return per_sample.mean(1) if reduction == "mean" else per_sample.sum(1)


register_per_sample_loss(
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.KLDivLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.SoftMarginLoss,
)(_unreduced)


@register_per_sample_loss(nn.CrossEntropyLoss, nn.NLLLoss)
def _classification(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Cross entropy: its mean is over class weights and leaves out ``ignore_index``."""
    losses = _unreduced(module, args, kwargs)
    target = args[1] if len(args) > 1 else kwargs["target"]
    if module.reduction != "mean" or target.is_floating_point():
        return losses
    share = (
        torch.ones_like(target, dtype=losses.dtype)
        if module.weight is None
        else module.weight[target.clamp(min=0)]
    )
    share = share * (target != module.ignore_index)
    return losses / share.mean()
