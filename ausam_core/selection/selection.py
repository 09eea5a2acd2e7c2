"""What every selection has in common: it plans an epoch.

From the order that a sampler gives, a selection makes the batches to load. Most keep a part of each
batch (:meth:`Selection.select`); one that makes fewer batches of full size, or weights samples,
overrides :meth:`Selection.plan` and :meth:`Selection.num_batches`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ausam_core.batch import Batch
from ausam_core.errors import AusamError
from ausam_core.methods.method import StepResult
from ausam_core.scores import Scores


class Selection(ABC):
    """Which samples are trained.

    Attributes:
        needs_losses: whether :meth:`record` needs the loss of each sample.
        needs_difference: whether it needs them before and after the perturbation.
    """

    needs_losses = False
    needs_difference = False

    @abstractmethod
    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Choose from one batch.

        Args:
            indices: ``[K]``, int64: the samples of the batch.
            epoch: number of the epoch, from 0.
            generator: source of chance; every call takes as many numbers from it, whatever the
                scores are.

        Returns:
            ``[N]``, int64: positions in the batch, ascending.
        """

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
            kept = self.select(torch.tensor(batch), epoch, generator)
            yield Batch([batch[i] for i in kept.tolist()], len(batch), epoch)

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
        return {"settings": self.settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the memory.

        Raises:
            AusamError: if the settings differ.
        """
        saved, own = state["settings"], self.settings()
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

    Attributes:
        scores: what is remembered; a subclass makes it and records into it.
    """

    scores: Scores

    def end_epoch(self) -> None:
        self.scores.merge()

    def forget_epoch(self) -> None:
        self.scores.forget_pending()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scores": self.scores.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.scores.load_state_dict(state["scores"])


def check_share(alpha: float) -> float:
    """Return α, or refuse it outside (0, 1]."""
    if not 0 < alpha <= 1:
        raise AusamError(f"alpha is the share of a batch that is trained, in (0, 1]; found {alpha}")
    return float(alpha)


def check_share_of_batch(alpha: float, batch_size: int) -> None:
    """Refuse a batch of which the share α is less than one sample."""
    if alpha * batch_size + 1e-9 < 1:
        raise AusamError(
            f"alpha={alpha:g} of a batch of {batch_size} is less than one sample; use a batch of "
            f"at least {math.ceil(1 / alpha)} or a larger alpha"
        )
