"""The record of one forward pass: the total loss, the loss of each sample, the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ausam_core.errors import AusamError


@dataclass
class ForwardRecord:
    """What one forward pass gave.

    Attributes:
        total: the loss that is differentiated, a scalar attached to the graph.
        per_sample: the loss of each sample, shape ``[N]``, in the order of the batch; None where
            the loss cannot be split. Its scale does not depend on N, so that values of batches of
            different size can be compared.
        outputs: whatever else the forward pass wants to hand on (class scores, for example).
        error: ``‖softmax − target‖₂`` of each sample, ``[N]``, for selections that score by it;
            see :func:`~ausam_core.selection.el2n.el2n`.
    """

    total: Tensor
    per_sample: Tensor | None = None
    outputs: Any = None
    error: Tensor | None = None


def mean_loss(per_sample: Tensor, weights: Tensor | None = None) -> Tensor:
    """``1/N · Σ w_i ℓ_i``; without weights the plain mean.

    The sum of the weights does not enter: a weight of 1/(1−r) stands for samples that were left
    out, and they count in the gradient as if they were there.
    """
    if weights is None:
        return per_sample.mean()
    return (per_sample * weights.to(per_sample, non_blocking=True)).mean()


def as_record(value: Tensor | ForwardRecord, weights: Tensor | None = None) -> ForwardRecord:
    """Turn what a closure returned into a record.

    Args:
        value: a loss of each sample ``[N]`` (the usual case), a scalar, or a finished record.
        weights: ``[N]``, a weight for each sample; needs a loss of each sample.

    Raises:
        AusamError: if the value is neither, or if weights meet a loss that is already reduced.
    """
    if isinstance(value, ForwardRecord):
        record = value
        if record.total.dim() != 0:
            raise AusamError(
                f"ForwardRecord.total has shape {list(record.total.shape)}; it is the scalar that "
                "is differentiated, and the loss of each sample goes into per_sample"
            )
    elif not isinstance(value, Tensor):
        raise AusamError(
            f"the closure returned {type(value).__name__}, not a loss; return a tensor with the "
            'loss of each sample of the batch, shape [N] (reduction="none")'
        )
    elif value.dim() == 0:
        record = ForwardRecord(total=value)
    elif value.dim() == 1:
        record = ForwardRecord(total=mean_loss(value), per_sample=value)
    else:
        raise AusamError(
            f"the closure returned a loss of shape {list(value.shape)}; reduce it to one value a "
            "sample, shape [N]"
        )
    if record.per_sample is not None and record.per_sample.numel() == 0:
        raise AusamError("the closure returned the losses of no sample; leave empty batches out")
    if weights is not None:
        if record.per_sample is None:
            raise AusamError(
                "this selection weights samples, but the loss is already reduced to a scalar; "
                'return the loss of each sample, shape [N] (reduction="none")'
            )
        if isinstance(value, ForwardRecord):
            # What its total holds beside the losses of the samples (a penalty) stays.
            weights = weights.to(record.per_sample, non_blocking=True)
            record.total = record.total + mean_loss(record.per_sample, weights - 1)
        else:
            record.total = mean_loss(record.per_sample, weights)
    return record


def loss_difference(before: Tensor | None, after: Tensor | None) -> Tensor | None:
    """``d_i = |ℓ_i(w+ε) − ℓ_i(w)|``, shape ``[N]``, in fp32 or wider (AUSAM, Eq. 6); None where
    either is missing."""
    if before is None or after is None:
        return None
    wide = torch.promote_types(after.dtype, torch.float32)
    return (after.detach().to(wide) - before.detach().to(wide)).abs()
