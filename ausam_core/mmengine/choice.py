"""Where the samples of a batch are chosen: before loading, or in the loop after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from ausam_core.batch import Batch
from ausam_core.batch_parts import batch_length, holds, part_of_batch
from ausam_core.batch_sampler import SelectiveBatchSampler
from ausam_core.errors import AusamError
from ausam_core.mmengine.requested import indices_of
from ausam_core.random_state import keyed_generator
from ausam_core.ranks import own_rank
from ausam_core.selection import Selection
from ausam_core.step_result import StepResult


class Choice(ABC):
    """Chooses the samples of each batch of a run, and learns what came of them.

    Args:
        selection: decides.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    #: Seed of the draws.
    seed: int

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch."""

    def begin_iteration(self, iteration: int) -> None:
        """Draw by the number of the iteration, where it is not that of the epoch that counts."""

    @abstractmethod
    def choose(self, data_batch: Any) -> Batch:
        """The plan of a batch that the loop was given; drops from it what is not to be trained."""

    @abstractmethod
    def learn(self, batch: Batch, result: StepResult) -> None:
        """Learn from the step over a batch."""

    @abstractmethod
    def end_epoch(self) -> None:
        """Make what was learned count; with several ranks every one calls it."""


class BeforeLoading(Choice):
    """The loader's batch sampler has chosen; here it is only told what came of it."""

    def __init__(self, sampler: SelectiveBatchSampler) -> None:
        super().__init__(sampler.selection)
        self.sampler = sampler

    @property
    def seed(self) -> int:
        return self.sampler.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.sampler.seed = seed

    def begin_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def choose(self, data_batch: Any) -> Batch:
        return self.sampler.planned(_told(data_batch))

    def learn(self, batch: Batch, result: StepResult) -> None:
        self.sampler.record(batch, result)

    def end_epoch(self) -> None:
        self.sampler.end_epoch()


class InTheLoop(Choice):
    """The literal form of the paper's Algorithm 1: all were loaded, a part is trained."""

    def __init__(self, selection: Selection, seed: int) -> None:
        super().__init__(selection)
        self.seed = seed
        self._epoch = 0
        self._generator = torch.Generator()

    def begin_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._generator = keyed_generator("batches", self.seed, epoch, own_rank())

    def begin_iteration(self, iteration: int) -> None:
        # A run that is resumed in the middle of an epoch goes on with draws of its own.
        self._generator = keyed_generator("iterations", self.seed, iteration, own_rank())

    def choose(self, data_batch: Any) -> Batch:
        indices = _told(data_batch)
        batch = self.selection.choose(indices, self._epoch, self._generator)
        if len(batch) < len(indices):
            keep_part(data_batch, batch.indices)
        return batch

    def learn(self, batch: Batch, result: StepResult) -> None:
        self.selection.record(batch.indices, result)

    def end_epoch(self) -> None:
        self.selection.end_epoch()


def keep_part(data_batch: Any, wanted: list[int]) -> None:
    """Keep only some samples of a batch that carries its indices, in place.

    Raises:
        AusamError: where nothing in the batch has as many entries as samples were asked for.
    """
    size = len(data_batch.indices)
    place = {sample: position for position, sample in enumerate(data_batch.indices)}
    positions = torch.tensor([place[sample] for sample in wanted])
    if not holds(data_batch, size):
        found = batch_length(data_batch)
        what = "nothing that counts samples" if found is None else f"{found} samples"
        raise AusamError(
            f"{size} samples were loaded, and the batch that the collate function made of them "
            f"holds {what}; let it keep every sample, as tensors, arrays or lists of one entry each"
        )
    part = part_of_batch(data_batch, positions, size)
    if isinstance(data_batch, dict):
        data_batch.update(part)
    else:
        data_batch[:] = part
    data_batch.indices = wanted


def _told(data_batch: Any) -> list[int]:
    indices = indices_of(data_batch)
    if indices is None:
        raise AusamError(
            f"a batch of type {type(data_batch).__name__} cannot carry the numbers of its samples, "
            "so AUSAM cannot remember them; let the collate function return a dict or a list"
        )
    return indices
