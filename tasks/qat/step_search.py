"""The first value of a step: the one with the smallest squared error.

LSQ starts at ``2·mean|w|/√Qp``; at 2 bits that gives a Gaussian half as much error again as the
best step, and more than half of its codes are 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.qat.grid import Grid, to_codes

CANDIDATES = 80
"""Steps that are tried, between 0.05 and 1.5 times the step that just holds the largest value."""


@torch.no_grad()
def best_step(values: Tensor, grid: Grid, *, channels: bool) -> Tensor:
    """``argmin_s ‖x − Q_s(x)‖²`` by trying a fixed list of steps.

    Args:
        values: any shape; with ``channels`` dimension 0 counts them.
        grid: the integers to round to.
        channels: one step a channel, shape ``[C]``; else one for all, shape ``[]``.

    Returns:
        Positive steps, fp32. What is all zero gets step 1, and keeps its zeros.
    """
    rows = values.detach().float().flatten(1) if channels else values.detach().float().view(1, -1)
    largest = rows.abs().amax(1)
    reach = torch.where(largest > 0, largest, float(grid.high)) / grid.high
    best = reach.clone()
    error = torch.full_like(best, torch.inf)
    for factor in torch.linspace(0.05, 1.5, CANDIDATES).tolist():
        step = reach * factor
        found = (to_codes(rows, step, grid) * step[:, None]).sub_(rows).square_().sum(1)
        better = found < error
        best, error = torch.where(better, step, best), torch.where(better, found, error)
    best = torch.where(largest > 0, best, 1.0)
    return best if channels else best.squeeze(0)


def lsq_step(values: Tensor, grid: Grid) -> Tensor:
    """``2·mean|x|/√Qp``, the start of the LSQ paper; for comparison."""
    return 2 * values.detach().float().abs().mean() / grid.high**0.5
