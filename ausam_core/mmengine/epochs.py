"""Which epoch it is: that of the loop, or, where a loop only counts iterations, how often the data
were passed through."""

from __future__ import annotations

import math
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop

from ausam_core.mmengine.checks import batch_size_of


class Epochs:
    """The epochs of a run.

    A loop by iterations is cut into as many equal parts as it passes through the data, rounded:
    scores change between two parts, and a share of the run is a number of them.

    Args:
        loop: MMEngine's loop by epochs or by iterations.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        #: Whether the loop itself knows no epochs.
        self.by_iterations = not isinstance(loop, EpochBasedTrainLoop)
        self.number = self._passes() if self.by_iterations else loop.max_epochs

    @property
    def present(self) -> int:
        """The present epoch, from 0."""
        return self._of(self._loop.iter) if self.by_iterations else self._loop.epoch

    @property
    def ends_unseen(self) -> bool:
        """Whether the present iteration is the last of an epoch that the loop does not know of."""
        return self.by_iterations and self._of(self._loop.iter + 1) > self.present

    def restart(self) -> None:
        """Ask the loader anew: a loop by iterations did so before any hook could speak."""
        if not self.by_iterations:
            return
        loader = self._loop.dataloader
        loader._iterator = None  # persistent workers have the old data set
        if isinstance(loader.sampler, InfiniteSampler):
            # It has one generator for good, which ended with the iterator that began it.
            loader.sampler.indices = loader.sampler._indices_of_rank()
        self._loop.dataloader_iterator = type(self._loop.dataloader_iterator)(loader)

    def _of(self, iteration: int) -> int:
        return min(iteration * self.number // self._loop.max_iters, self.number - 1)

    def _passes(self) -> int:
        loader = self._loop.dataloader
        size = batch_size_of(loader)
        if size is None:  # then nothing is chosen, and a share of the run is one of its iterations
            return self._loop.max_iters
        a_pass = math.ceil(len(loader.dataset) / (size * get_world_size()))
        return max(1, round(self._loop.max_iters / max(1, a_pass)))
