"""Steps: what one is, its first value, its floor, and how far an update may move it.

A step s is the distance between neighbouring values of a quantized tensor, ``x̂ = s · code``. Every
weight has one a channel (or one for all), every activation has one. A step is a parameter called
``step``; that name is how a state dict tells steps from weights.

The first value is the one with the smallest squared error. LSQ starts at ``2·mean|w|/√Qp``; at 2
bits that gives a Gaussian half as much error again as the best step, and more than half of its
codes are 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tasks.qat.grid import Grid

STEPS = r"\bstep$"
"""For ``exclude`` of a method: the names of all steps."""
FLOOR = 1e-6
"""The smallest step. At the floor a channel gives next to nothing and can still come back."""
LARGEST_CHANGE = 0.1
"""The largest change of a step in one update, as a share of it."""
CANDIDATES = 80
"""Steps that are tried, between 0.05 and 1.5 times the step that just holds the largest value."""
_ENOUGH, _AT_ONCE = 1 << 13, 1 << 18
"""How many values of a channel the search looks at, evenly spread; how many values at once."""


def is_step(name: str) -> bool:
    """Whether a name of a state dict or of ``named_parameters`` is that of a step."""
    return name.rpartition(".")[2] == "step"


def per_channel(step: Tensor, values: Tensor) -> Tensor:
    """The steps, at the floor or above, so that they broadcast over dimension 0 of ``values``."""
    step = step.clamp(min=FLOOR)
    return step if step.dim() == 0 else step.view(-1, *[1] * (values.dim() - 1))


def to_codes(values: Tensor, step: Tensor, grid: Grid) -> Tensor:
    """``round(clip(values / step, low, high))``, half to even; fp32 that holds integers.

    Args:
        values: any shape.
        step: a step for all, shape ``[]``, or one a channel (dimension 0), shape ``[C]``.
        grid: the integers to round to.
    """
    # fp32 whatever the values are, as in training: at bf16's 8 bits of precision codes would flip
    scaled = values.float() / per_channel(step.float(), values)
    return scaled.clamp_(grid.low, grid.high).round_()


@torch.no_grad()
def best_step(values: Tensor, grid: Grid, *, channels: bool) -> Tensor:
    """``argmin_s ‖x − Q_s(x)‖²`` by trying a fixed list of steps.

    Args:
        values: any shape; with ``channels`` dimension 0 counts them.
        grid: the integers to round to.
        channels: one step a channel, shape ``[C]``; else one for all, shape ``[]``.

    Returns:
        Steps at the floor or above, fp32. What is all zero gets step 1, and keeps its zeros.
    """
    if not channels:
        return _best_of_rows(values.detach().float().view(1, -1), grid, stride=1).squeeze(0)
    rows = values.detach().flatten(1)
    stride = rows.shape[1] // _ENOUGH | 1  # odd, to visit all positions of a kernel
    # A few rows at a time, so that what is tried stays in the cache.
    parts = rows.split(max(1, _AT_ONCE // rows.shape[1]))
    return torch.cat([_best_of_rows(part.float(), grid, stride) for part in parts])


def _best_of_rows(rows: Tensor, grid: Grid, stride: int) -> Tensor:
    """The best step of each row, by each ``stride``-th of its values."""
    largest = rows.abs().amax(1)
    reach = torch.where(largest > 0, largest, float(grid.high)) / grid.high
    sample = rows[:, ::stride]
    best = reach.clone()
    error = torch.full_like(best, torch.inf)
    for factor in torch.linspace(0.05, 1.5, CANDIDATES).tolist():
        step = reach * factor
        found = (to_codes(sample, step, grid) * step[:, None]).sub_(sample).square_().sum(1)
        better = found < error
        best, error = torch.where(better, step, best), torch.where(better, found, error)
    # pretrained networks have channels that weight decay has shrunk to almost nothing
    return torch.where(largest > 0, best, 1.0).clamp_(min=FLOOR)


@torch.no_grad()
def limit_change(steps: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Hold every step within a tenth of what it was, and at the floor; in place.

    LSQ scales the gradient of a step for the step that LSQ starts with. The step of least squared
    error is smaller, at 8 bits six times, and an optimizer like Adam ignores the scale altogether:
    an update may throw a step across zero, and a negative step is no quantizer. At 2 bits with SGD
    the limit is hardly ever met.

    Args:
        steps: as an update left them. Steps that are NaN stay so, to be found.
        before: as they were before the update.
    """
    steps, before = list(steps), list(before)
    torch._foreach_maximum_(steps, torch._foreach_mul(before, 1 - LARGEST_CHANGE))
    torch._foreach_minimum_(steps, torch._foreach_mul(before, 1 + LARGEST_CHANGE))
    torch._foreach_clamp_min_(steps, FLOOR)
