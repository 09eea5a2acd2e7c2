"""The loss of each sample for torch's own loss modules.

Their value for a sample is what the module returns for it alone, except where the module's mean is
over something of the whole batch (class weights, ``ignore_index``): there their mean is what the
module returned. ``reduction="none"`` is taken to be averaged by the model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.per_sample_loss import register_per_sample_loss


def unreduced(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The same module with ``reduction="none"``: for losses that are separable in samples."""
    reduction = module.reduction
    module.reduction = "none"
    try:
        losses = module.forward(*args, **kwargs)
    finally:
        module.reduction = reduction
    if not losses.dim():
        return NotImplemented  # a subclass that reduces by itself
    return per_sample(losses, "sum" if reduction in ("sum", "batchmean") else "mean")


def per_sample(losses: Tensor, reduction: str) -> Tensor:
    """Losses ``[N, ...]`` reduced to ``[N]`` by "mean" or "sum"."""
    if losses.dim() <= 1:
        return losses
    losses = losses.flatten(1)
    return losses.sum(1) if reduction == "sum" else losses.mean(1)


register_per_sample_loss(
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.KLDivLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.SoftMarginLoss,
    nn.PoissonNLLLoss,
    nn.GaussianNLLLoss,
    nn.HingeEmbeddingLoss,
    nn.CosineEmbeddingLoss,
    nn.MarginRankingLoss,
    nn.MultiMarginLoss,
    nn.MultiLabelMarginLoss,
    nn.MultiLabelSoftMarginLoss,
    nn.TripletMarginLoss,
    nn.TripletMarginWithDistanceLoss,
)(unreduced)


@register_per_sample_loss(nn.CrossEntropyLoss, nn.NLLLoss)
def classification(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Cross entropy: its mean is over class weights and leaves out ``ignore_index``."""
    losses = unreduced(module, args, kwargs)
    target = args[1] if len(args) > 1 else kwargs["target"]
    if losses is NotImplemented or module.reduction != "mean" or target.is_floating_point():
        return losses
    counts = target != module.ignore_index
    if module.weight is None:
        share = counts.to(losses.dtype)
    else:
        share = module.weight[target.where(counts, 0)] * counts
    return losses / share.mean()


@register_per_sample_loss(nn.CTCLoss)
def ctc(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """CTC: the batch stands in the second dimension; the mean is per label of the target."""
    losses = unreduced(module, args, kwargs)
    if losses is NotImplemented or module.reduction != "mean":
        return losses
    lengths = args[3] if len(args) > 3 else kwargs["target_lengths"]
    return losses / torch.as_tensor(lengths, device=losses.device).clamp(min=1)
