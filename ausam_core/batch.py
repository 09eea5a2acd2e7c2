"""One planned batch: what a selection hands to the loader, and a method may want to know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor


class Weights(NamedTuple):
    """Weights of the samples of a batch in the loss.

    Attributes:
        values: ``[N]``.
        loss: which loss they weigh: that of pass 1 (``"before"``), of pass 2 (``"after"``), or
            both.
    """

    values: Tensor
    loss: Literal["before", "after", "both"]


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch to load. Two batches are the same only if they are the same object.

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

    def __len__(self) -> int:
        return len(self.indices)


def number_kept(alpha: float, batch_size: int, multiple_of: int = 1) -> int:
    """``⌊αK⌋``, but at least 2 where there are 2: BatchNorm cannot normalise a single sample.

    The bound matters for a short last batch; 1e-9 keeps ``0.7 · 10`` from becoming 6.

    Args:
        alpha: share α that is kept.
        batch_size: K.
        multiple_of: round down to a multiple of it, where the batch holds one; 2 for a Mixup that
            pairs the samples of a batch.
    """
    kept = max(min(2, batch_size), math.floor(alpha * batch_size + 1e-9))
    return kept - kept % multiple_of or min(multiple_of, batch_size)
