"""Selections that keep a share α of each batch: the checks, the draws, the weights.

Without replacement and in proportion to weights, as the AUSAM paper draws, the chances of inclusion
have no closed form; so importance weights, which divide by them, draw another way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ausam_core.batch import number_kept
from ausam_core.errors import AusamError, as_number


@dataclass(frozen=True)
class Share:
    """How many samples of a batch are kept.

    Attributes:
        alpha: share α of each batch, in (0, 1]; ⌊αK⌋ samples, but at least 2.
        multiple_of: keep a multiple of so many, for a batch augmentation that pairs samples.

    Raises:
        AusamError: for values outside these ranges.
    """

    alpha: float
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if not 0 < as_number("alpha", self.alpha) <= 1:
            raise AusamError(
                f"alpha is the share of a batch that is trained, in (0, 1]; found {self.alpha}"
            )
        if self.multiple_of < 1:
            raise AusamError(f"multiple_of must be 1 or more, found {self.multiple_of}")

    def of(self, batch_size: int) -> int:
        """N, the samples kept of K."""
        return number_kept(self.alpha, batch_size, self.multiple_of)

    def check(self, batch_size: int) -> None:
        """Refuse a batch of which the share is less than what is to be kept."""
        least = self.multiple_of
        if self.alpha * batch_size + 1e-9 < least:
            found = "one sample" if least == 1 else f"{least} samples"
            raise AusamError(
                f"alpha={self.alpha:g} of a batch of {batch_size} is less than {found}; use a "
                f"batch of at least {math.ceil(least / self.alpha)} or a larger alpha"
            )


def draw_without_replacement(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` of K positions, one after the other in proportion to the weights of those
    left.

    Positions with the smallest ``Exp(1)/weight`` have that law (the race that ``torch.multinomial``
    runs too); K numbers are taken from the generator in every case, so that the next batch's draw
    does not depend on this one's weights.

    Args:
        weights: ``[K]``, positive.

    Returns:
        ``[count]``, int64, ascending.
    """
    arrival = torch.empty_like(weights).exponential_(generator=generator) / weights
    return arrival.topk(count, largest=False, sorted=False).indices.sort().values


def inclusion_probabilities(weights: Tensor, count: int) -> Tensor:
    """``π_i ∝ weight``, at most 1, with sum ``count``: the chance that each of K is kept.

    Args:
        weights: ``[K]``, positive.

    Returns:
        ``[K]``, fp64.
    """
    weights = weights.double()
    certain = torch.zeros(len(weights), dtype=torch.bool)
    while True:
        left = count - int(certain.sum())
        chances = torch.where(certain, 1.0, left * weights / weights[~certain].sum())
        over = (chances > 1) & ~certain
        if not over.any():
            return chances
        certain |= over


def draw_systematically(chances: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a fixed number of K positions, each with exactly its own chance.

    Madow's systematic draw over a random order: one random start, then steps of 1 through the sums
    of the chances. K + 1 numbers are taken from the generator.

    Args:
        chances: ``[K]``, in (0, 1], with a whole sum.

    Returns:
        ``[sum]``, int64, ascending.
    """
    order = torch.rand(len(chances), generator=generator).argsort()
    begin = torch.rand((), generator=generator, dtype=torch.float64)
    ends = chances.double()[order].cumsum(0)
    ends[-1] = round(float(ends[-1]))
    ticks = (ends - begin).ceil().clamp(min=0)
    hit = ticks.diff(prepend=ticks.new_zeros(1)) > 0
    return order[hit].sort().values
