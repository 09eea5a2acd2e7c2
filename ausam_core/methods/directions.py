"""Directions in the space of the weights that a method keeps from step to step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ausam_core.perturbation import same_kind
from ausam_core.ranks import global_norm, local, placed_like

Directions = dict[nn.Parameter, Tensor]
"""For each parameter the part of a direction that this rank holds."""


def norm_of(parts: Directions) -> Tensor:
    """``‖·‖₂`` of a direction, over all shards, 0-dim."""
    return global_norm([placed_like(part, p) for p, part in parts.items()])


def cosine_of_unit_vectors(a: Directions, b: Directions) -> Tensor:
    """``⟨a, b⟩ = 1 − ½‖a−b‖²`` of unit vectors, 0-dim; consumes ``b``.

    There is a foreach norm and no foreach inner product; for unit vectors this is as exact.
    """
    torch._foreach_sub_(list(b.values()), [a[p] for p in b])
    return 1 - 0.5 * norm_of(b).square()


def keep_finite(finite: Tensor, new: Directions, old: Directions) -> Directions:
    """What a method keeps for later steps: the new direction if finite, else the old, else zeros.

    NaN that is kept would come again with every reuse. The device decides; nothing is read.
    """

    def of(parameter: nn.Parameter, part: Tensor) -> Tensor:
        known = old.get(parameter)
        if known is None or not same_kind(known, part):
            return torch.where(finite.to(part.device), part, 0.0)
        return torch.where(finite.to(part.device), part, known)

    return {parameter: of(parameter, part) for parameter, part in new.items()}


def saved(parameters: Sequence[nn.Parameter], kept: Directions) -> list[Tensor]:
    """A direction for a checkpoint: a tensor for each parameter, sharded as it is.

    Where nothing is kept it is zero, which adds nothing: so a fresh method has the same entries as
    the one that was saved, and ``torch.distributed.checkpoint`` finds where to load.
    """
    return [
        placed_like(kept[p] if p in kept else torch.zeros_like(local(p.detach())), p)
        for p in parameters
    ]


def loaded(parameters: Sequence[nn.Parameter], tensors: Sequence[Tensor | None]) -> Directions:
    """What :func:`saved` gave, on the parameters' devices."""
    pairs = zip(parameters, tensors, strict=True)
    return {p: local(t).to(local(p).device).clone() for p, t in pairs if t is not None}
