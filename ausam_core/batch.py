"""One planned batch: what a selection hands to the loader, and a method may want to know."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from torch import Tensor


class Weights(NamedTuple):
    """Weights of the samples of a batch in the loss.

    Attributes:
        values: ``[N]``.
        loss: which loss they weigh: that of pass 1 (``"before"``) or of pass 2 (``"after"``).
    """

    values: Tensor
    loss: Literal["before", "after"]


class Batch(NamedTuple):
    """One batch to load.

    Attributes:
        indices: the samples to load, in the order of the sampler.
        size: K, how many samples the batch stands for; ``len(indices)`` of them are trained.
        epoch: number of the epoch, from 0.
        weights: their weights in the loss, or None where all count 1.
    """

    indices: list[int]
    size: int
    epoch: int = 0
    weights: Weights | None = None


def number_kept(alpha: float, batch_size: int) -> int:
    """``⌊αK⌋``, but at least 2 where there are 2: BatchNorm cannot normalise a single sample.

    The bound matters for a short last batch; 1e-9 keeps ``0.7 · 10`` from becoming 6.
    """
    return max(min(2, batch_size), math.floor(alpha * batch_size + 1e-9))
