"""What every selection has in common: it plans an epoch.

From the order that a sampler gives, a selection makes the batches to load. Most keep a part of each
batch (:meth:`Selection.select`); one that makes fewer batches of full size overrides
:meth:`Selection.plan` and :meth:`Selection.num_batches`.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ausam_core.batch import Batch, Weights
from ausam_core.errors import AusamError
from ausam_core.schedule import check_start, first_epoch
from ausam_core.scores import Scores
from ausam_core.step_result import StepResult


class Selection(ABC):
    """Which samples are trained.

    Args:
        start: share of the run, in [0, 1), in which whole batches are trained; the selection begins
            with the first epoch after it. Needs :meth:`begin_run`.

    Attributes:
        needs_losses: whether :meth:`record` needs the loss of each sample; where a class has a
            ``record`` of its own and does not say, it does.
        process_group: the ranks that share what is learned; None is all of them. Set by the
            sampler.
        epochs: epochs of the run; None until :meth:`begin_run`.
    """

    needs_losses = False
    process_group: Any = None
    epochs: int | None = None
    start: float = 0.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        said = any("needs_losses" in vars(c) for c in cls.__mro__ if c is not Selection)
        if "record" in vars(cls) and not said:
            cls.needs_losses = True  # nothing else would tell that it learns from nothing

    def __init__(self, start: float = 0.0) -> None:
        self.start = check_start(start)

    @abstractmethod
    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Choose from one batch.

        Args:
            indices: ``[K]``, int64: the samples of the batch.
            epoch: number of the epoch, from 0.
            generator: source of chance; every call takes as many numbers from it, whatever the
                scores are.

        Returns:
            ``[N]``, int64: positions in the batch, in the order in which they are trained.
        """

    def weights(self, indices: Tensor, kept: Tensor, epoch: int) -> Weights | None:
        """Weights of the samples that :meth:`select` kept, or None where all count 1."""
        return None

    def begin_run(self, epochs: int) -> None:
        """Learn how many epochs the run has; what is a share of them is set now."""
        if epochs < 1:
            raise AusamError(f"a run has an epoch at least, found {epochs}")
        self.epochs = epochs
        if epochs == 1 and self.start > 0:
            warnings.warn(
                f"start={self.start:g} of {type(self).__name__} lies between two epochs, and the "
                "run has one: all samples are trained; leave start out, or train for two epochs",
                stacklevel=2,
            )

    @property
    def first_epoch(self) -> int:
        """The epoch with which the selection begins."""
        if self.start == 0:
            return 0
        return first_epoch(self.start, self.known_epochs(f"start={self.start:g}"))

    def known_epochs(self, what: str) -> int:
        """Epochs of the run.

        Raises:
            AusamError: where nobody has told; ``what`` needs them.
        """
        if self.epochs is None:
            raise AusamError(
                f"{what} of {type(self).__name__} is a share of the run, whose length is not "
                "known; call sampler.begin_run(epochs) before the first epoch, or give a number"
            )
        return self.epochs

    def choose(self, batch: Sequence[int], epoch: int, generator: torch.Generator) -> Batch:
        """Plan one batch: choose from it, or keep it whole before the selection begins."""
        if epoch < self.first_epoch:
            return Batch(list(batch), len(batch), epoch)
        indices = torch.tensor(batch)
        kept = self.select(indices, epoch, generator)
        chosen = [batch[i] for i in kept.tolist()]
        return Batch(chosen, len(batch), epoch, self.weights(indices, kept, epoch))

    def plan(
        self,
        order: Iterable[int],
        batch_size: int,
        drop_last: bool,
        epoch: int,
        generator: torch.Generator,
    ) -> Iterator[Batch]:
        """The batches of an epoch, made as they are asked for.

        Args:
            order: the samples in the order of the sampler.
            batch_size: K.
            drop_last: leave out a last batch of fewer than K samples.
            epoch, generator: see :meth:`select`.
        """
        samples = iter(order)
        while batch := list(islice(samples, batch_size)):
            if drop_last and len(batch) < batch_size:
                return
            yield self.choose(batch, epoch, generator)

    def num_batches(self, num_samples: int, batch_size: int, drop_last: bool) -> int:
        """Number of batches of an epoch over ``num_samples`` samples of one rank."""
        return num_samples // batch_size if drop_last else math.ceil(num_samples / batch_size)

    def check_batch_size(self, batch_size: int) -> None:
        """Refuse a batch size from which nothing can be chosen."""

    def record(self, indices: Sequence[int], result: StepResult) -> None:
        """Learn from a step that trained ``indices``; never waits for the device."""

    def end_epoch(self) -> None:
        """Make what the epoch showed count from now on; with several ranks every one calls it."""

    def forget_epoch(self) -> None:
        """Drop what the running epoch showed, because it will be run again."""

    def settings(self) -> dict[str, Any]:
        """The settings that must be the same when a run is resumed."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Settings and memory: tensors and plain values."""
        own = {"start": self.start} if self.start else {}
        return {"settings": {**self.settings(), **own}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the memory.

        Raises:
            AusamError: if the settings differ.
        """
        saved, own = state["settings"], Selection.state_dict(self)["settings"]
        different = [k for k in own.keys() | saved.keys() if own.get(k) != saved.get(k)]
        if different:
            found = ", ".join(
                f"{k} was {saved.get(k)!r} and is {own.get(k)!r}" for k in sorted(different)
            )
            raise AusamError(
                f"the run to resume selected samples otherwise ({found}); resume with the same "
                "settings, or start a new run from the weights alone"
            )


class ScoredSelection(Selection):
    """A selection that remembers a score of each sample.

    Args:
        scores: what is remembered; :meth:`record` records into it.
        start: see :class:`Selection`.
    """

    needs_losses = True

    def __init__(self, scores: Scores, start: float = 0.0) -> None:
        super().__init__(start)
        self.scores = scores

    def end_epoch(self) -> None:
        self.scores.merge(self.process_group)

    def forget_epoch(self) -> None:
        self.scores.forget_pending()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scores": self.scores.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.scores.load_state_dict(state["scores"])
