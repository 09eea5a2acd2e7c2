"""Where the samples of a batch are chosen: before loading, or in the loop after it."""

from __future__ import annotations

from typing import Any

import torch

from ausam_core.batch import Batch
from ausam_core.batch_sampler import SelectiveBatchSampler, own_rank
from ausam_core.errors import AusamError
from ausam_core.methods import StepResult
from ausam_core.mmengine.keyed_pipeline import indices_of, take
from ausam_core.random_state import epoch_generator
from ausam_core.selection import Selection


class BeforeLoading:
    """The loader's batch sampler has chosen; here it is only told what came of it.

    Attributes:
        size: K, how many samples the present batch stands for.
        trained: N, how many of them are trained.
    """

    def __init__(self, sampler: SelectiveBatchSampler) -> None:
        self.sampler, self.selection = sampler, sampler.selection
        self.size = self.trained = 0
        self._compared = False
        sampler.attended = True

    @property
    def seed(self) -> int:
        return self.sampler.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.sampler.seed = seed

    def begin_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def choose(self, data_batch: Any) -> Batch:
        """The batch as planned; checks, once, that the loader hands over what was chosen."""
        batch = self.sampler.current
        self.size, self.trained = batch.size, len(batch.indices)
        if self._compared:
            return batch
        self._compared = True
        loaded = indices_of(data_batch)
        if loaded is not None and loaded != batch.indices:
            raise AusamError(
                f"the first batch holds samples {loaded[:4]}…, but the sampler chose "
                f"{batch.indices[:4]}…; the loader must keep the order of its batch sampler "
                "(in_order=True, no dataset wrapper that draws other samples)"
            )
        return batch

    def learn(self, result: StepResult) -> None:
        if self.selection.needs_losses and result.before is None:
            self.sampler.pass_over()  # said once, when the run began
        else:
            self.sampler.record(result)

    def end_epoch(self) -> None:
        """Nothing to do: the sampler notices its last batch."""


class InTheLoop:
    """The literal form of the paper's Algorithm 1: the whole batch was loaded, a part is trained.

    Attributes: see :class:`BeforeLoading`.
    """

    def __init__(self, selection: Selection, seed: int) -> None:
        self.selection, self.seed = selection, seed
        self.size = self.trained = 0
        self._epoch = 0
        self._generator = torch.Generator()
        self._indices: list[int] = []

    def begin_epoch(self, epoch: int) -> None:
        self.selection.forget_epoch()
        self._epoch, self._generator = epoch, epoch_generator(self.seed, epoch, own_rank())

    def choose(self, data_batch: Any) -> Batch:
        """Drop from the batch, in place, what is not to be trained."""
        indices = indices_of(data_batch)
        if indices is None:
            raise AusamError(
                f"the samples of a batch ({type(data_batch).__name__}) do not tell their index, so "
                "AUSAM cannot remember them; use a data set derived from mmengine's BaseDataset "
                "whose pipeline packs data_samples, or choose before loading with a "
                "SelectiveBatchSampler in train_dataloader"
            )
        kept = self.selection.select(torch.tensor(indices), self._epoch, self._generator)
        self.size, self.trained = len(indices), len(kept)
        self._indices = [indices[i] for i in kept.tolist()]
        if self.trained < self.size:
            take(data_batch, kept)
        return Batch(self._indices, self.size, self._epoch)

    def learn(self, result: StepResult) -> None:
        if not self.selection.needs_losses or result.before is not None:
            self.selection.record(self._indices, result)

    def end_epoch(self) -> None:
        self.selection.end_epoch()


Choosing = BeforeLoading | InTheLoop
