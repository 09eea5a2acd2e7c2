"""Apply a selection to any sampler, before loading.

What is not trained is never read, decoded, augmented or copied. Scores change only when a sample is
trained, and a sample occurs once an epoch; so the draw has the same law as choosing inside the
training loop, as the paper writes it.

The loop is handed each batch together with its plan, and hands both back::

    for batch, (images, labels) in sampler.over(loader):
        result = method.step(lambda: loss_of_each(images, labels), batch=batch)
        sampler.record(batch, result)

A batch that is skipped, or a loop that is left early, teaches nothing about other samples.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ausam_core.batch import Batch
from ausam_core.errors import AusamError
from ausam_core.random_state import keyed_generator
from ausam_core.ranks import own_rank
from ausam_core.selection import Selection
from ausam_core.step_result import StepResult

Data = TypeVar("Data")


class Plan(Iterator[list[int]]):
    """One way through an epoch: what a loader is given, and the batches behind it.

    Attributes:
        issued: batches that the loader has asked for and the loop has not reached, oldest first.
    """

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.issued: deque[Batch] = deque()

    def __next__(self) -> list[int]:
        batch = next(self._batches)
        self.issued.append(batch)
        return batch.indices


class SelectiveBatchSampler(Sampler[list[int]]):
    """A batch sampler for ``DataLoader(batch_sampler=…)`` that loads only what a selection chooses.

    The length is that of the batches without selection (for selections that keep a part of each),
    so learning-rate schedules and progress bars need no change.

    Args:
        sampler: any sampler of indices with an end: random, sequential, distributed.
        batch_size: K, the samples of a batch before selection.
        selection: what to keep.
        drop_last: leave out a last batch of fewer than K samples.
        seed: seed of the draws; the same on all ranks, which draw apart because of their rank.
        process_group: the ranks that train one model and share its scores; by default all of
            ``torch.distributed``. A rank that trains a model of its own gives a group of its own.

    Raises:
        AusamError: for a batch size below 1, or one of which the selection keeps less than one
            sample; for a sampler without a length.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        selection: Selection,
        *,
        drop_last: bool = False,
        seed: int = 0,
        process_group: Any = None,
    ) -> None:
        if batch_size < 1:
            raise AusamError(f"batch_size must be 1 or more, found {batch_size}")
        if not hasattr(type(sampler), "__len__"):
            raise AusamError(
                f"{type(sampler).__name__} has no length, and scores belong to epochs; use a "
                "sampler with an end, or leave the batches whole"
            )
        selection.check_batch_size(batch_size)
        if process_group is not None:
            selection.process_group = process_group
        self.sampler, self.batch_size, self.selection = sampler, batch_size, selection
        self.drop_last, self.seed, self.epoch = drop_last, seed, 0
        # Ways through the running epoch: a loader's iterator, and any look ahead.
        self._plans: list[Plan] = []
        # Batches that the loop was handed in the running epoch and did not hand back.
        self._open: set[Batch] = set()
        self._begun = False
        self._handed = self._recorded = 0
        # Of the inner sampler's own generator, as the running epoch began with it.
        self._order: Tensor | None = None

    def begin_run(self, epochs: int) -> None:
        """Learn how many epochs the run has, for settings that are a share of them."""
        self.selection.begin_run(epochs)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: what the last one showed counts from now on.

        A loop need not call it: :meth:`over` begins the next epoch by itself. Under DDP every rank
        calls it.
        """
        if self._begun:  # the last epoch was left early
            self.end_epoch()
        self._plans = []
        self.epoch = epoch
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def over(self, loader: Iterable[Data]) -> Iterator[tuple[Batch, Data]]:
        """One epoch: each batch of the loader together with its plan.

        Its end makes what was recorded count: ranks exchange it, and :meth:`state_dict` holds it.
        Where the loop is left by ``break``, the next epoch or :meth:`end_epoch` does so.

        Args:
            loader: a ``DataLoader`` whose batch sampler this is.

        Raises:
            AusamError: for a loader that may give batches in another order, or other ones, than
                this sampler planned.
        """
        self._check(loader)
        if self._begun:
            self.set_epoch(self.epoch + 1)
        elif hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(self.epoch)
        self._begun, self._plans = True, []
        plan: Plan | None = None
        for data in loader:
            # A loader with workers begins twice and uses its second way only.
            plan = plan or next((p for p in self._plans if p.issued), None)
            if plan is None or not plan.issued:
                raise AusamError(
                    f"{type(loader).__name__} gave a batch that this sampler did not plan; hand "
                    "over(…) the DataLoader that was made with batch_sampler=sampler"
                )
            yield self._hand_out(plan.issued.popleft()), data
        if self._handed and not self._recorded and self.selection.needs_losses:
            warnings.warn(
                f"no batch of epoch {self.epoch} was recorded, so {type(self.selection).__name__} "
                "learned nothing and draws by chance; call sampler.record(batch, result) after "
                "each step",
                stacklevel=2,
            )
        self.end_epoch()

    def planned(self, indices: list[int]) -> Batch:
        """The plan of a batch that a loop was given otherwise than by :meth:`over`.

        Args:
            indices: the samples that the loader asked for, in their order.

        Raises:
            AusamError: for samples that this sampler did not plan together.
        """
        self._begun = True
        for plan in self._plans:
            for batch in plan.issued:
                if batch.indices == indices:
                    plan.issued.remove(batch)
                    return self._hand_out(batch)
        raise AusamError(
            f"a batch holds samples {str(indices[:4])[:-1]}, …], which the sampler did not plan "
            "together; the loader must hand on the batches of its batch sampler as they are"
        )

    def record(self, batch: Batch, result: StepResult) -> None:
        """Let the selection learn from the step over a batch; never waits for the device.

        Args:
            batch: as :meth:`over` handed it out.
            result: of the step over it.

        Raises:
            AusamError: for a batch that was recorded before, or belongs to another epoch.
        """
        if batch not in self._open or batch.epoch != self.epoch:
            raise AusamError(
                f"a batch of epoch {batch.epoch} was recorded twice, or after its epoch (now "
                f"{self.epoch}); record each batch that over(loader) gives once, after its step"
            )
        if batch.weights is not None and not result.weighted:
            raise AusamError(
                f"{type(self.selection).__name__} weights its samples, but the step did not know; "
                "call method.step(closure, batch=batch)"
            )
        self.selection.record(batch.indices, result)
        self._open.remove(batch)
        self._recorded += 1

    def end_epoch(self) -> None:
        """Make what was recorded count from now on, and let the ranks exchange it.

        :meth:`over` calls it after its last batch; a loop that is left by ``break`` calls it before
        it saves. Where no epoch has begun since the last one ended it does nothing. Under DDP every
        rank calls it.
        """
        if not (self._begun or self._plans):
            return
        self.selection.end_epoch()
        self._forget()
        self.epoch += 1

    def __iter__(self) -> Plan:
        if not self._plans:
            self._order = self._generator_state()
        plan = Plan(self._batches())
        self._plans.append(plan)
        return plan

    def __len__(self) -> int:
        assert isinstance(self.sampler, Sized)
        return self.selection.num_batches(len(self.sampler), self.batch_size, self.drop_last)

    def state_dict(self) -> dict[str, Any]:
        """Seed, epoch, the selection's memory, and the state of the inner sampler's generator where
        it has one: tensors and plain values.

        Within an epoch it holds them as of its beginning, because a resumed run starts the epoch
        again.
        """
        order = self._order if self._begun or self._plans else self._generator_state()
        state = {"seed": self.seed, "epoch": self.epoch, "selection": self.selection.state_dict()}
        return state if order is None else {**state, "order": order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, with the epoch that follows the last whole one."""
        self.selection.load_state_dict(state["selection"])
        self.seed, self.epoch = state["seed"], state["epoch"]
        generator = getattr(self.sampler, "generator", None)
        if generator is not None and "order" in state:
            generator.set_state(state["order"].cpu())
        self._forget()

    def _generator_state(self) -> Tensor | None:
        generator = getattr(self.sampler, "generator", None)
        return generator.get_state() if isinstance(generator, torch.Generator) else None

    def _hand_out(self, batch: Batch) -> Batch:
        self._open.add(batch)
        self._handed += 1
        return batch

    def _forget(self) -> None:
        self._open.clear()
        self._plans = []
        self._handed = self._recorded = 0
        self._begun = False

    def _batches(self) -> Iterator[Batch]:
        generator = keyed_generator("batches", self.seed, self.epoch, own_rank())
        return self.selection.plan(
            self._samples(), self.batch_size, self.drop_last, self.epoch, generator
        )

    def _samples(self) -> Iterator[int]:
        """The order of the inner sampler, which has to come to an end."""
        assert isinstance(self.sampler, Sized)
        length = len(self.sampler)
        for i, sample in enumerate(self.sampler):
            if i == length:
                raise AusamError(
                    f"{type(self.sampler).__name__} says that it has {length} samples and gives "
                    "more; scores belong to epochs, so use a sampler with an end"
                )
            yield sample

    def _check(self, loader: Any) -> None:
        found = getattr(loader, "batch_sampler", None)
        if found is not self:
            raise AusamError(
                f"the batch sampler of {type(loader).__name__} is {type(found).__name__}, not this "
                "SelectiveBatchSampler; make the loader with batch_sampler=sampler, and where a "
                "library would shard it, give the sampler a DistributedSampler and leave the "
                "loader out of prepare()"
            )
        if not getattr(loader, "in_order", True):
            raise AusamError(
                "the loader was made with in_order=False, so a batch may come before one that was "
                "planned earlier; use in_order=True"
            )
