"""Apply a selection to any sampler, before loading.

What is not trained is never read, decoded, augmented or copied. Scores change only when a sample is
trained, and a sample occurs once an epoch; so the draw has the same law as choosing inside the
training loop, as the paper writes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sized
from typing import Any

from torch import distributed as dist
from torch.utils.data import Sampler

from ausam_core.batch import Batch
from ausam_core.errors import AusamError
from ausam_core.methods.method import StepResult
from ausam_core.random_state import epoch_generator
from ausam_core.selection import Selection


def own_rank() -> int:
    """Rank of this process, 0 without ``torch.distributed``."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class SelectiveBatchSampler(Sampler[list[int]]):
    """A batch sampler for ``DataLoader(batch_sampler=…)`` that loads only what a selection chooses.

    The length is that of the batches without selection (for selections that keep a part of each),
    so learning-rate schedules and progress bars need no change.

    Args:
        sampler: any sampler of indices: random, sequential, distributed.
        batch_size: K, the samples of a batch before selection.
        selection: what to keep.
        drop_last: leave out a last batch of fewer than K samples.
        seed: seed of the draws; the same on all ranks, which draw apart because of their rank.

    Raises:
        AusamError: for a batch size below 1, or one of which the selection keeps less than one
            sample.

    Example:
        >>> for epoch in range(epochs):
        ...     sampler.set_epoch(epoch)
        ...     for images, labels in loader:
        ...         result = method.step(loss_of_each_sample, batch=sampler.current)
        ...         sampler.record(result)
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        selection: Selection,
        *,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        if batch_size < 1:
            raise AusamError(f"batch_size must be 1 or more, found {batch_size}")
        selection.check_batch_size(batch_size)
        self.sampler, self.batch_size, self.selection = sampler, batch_size, selection
        self.drop_last, self.seed, self.epoch = drop_last, seed, 0
        # Batches given to the loader and not yet recorded, oldest first: loaders prefetch, but keep
        # the order.
        self._under_way: deque[Batch] = deque()
        self._recorded = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: what the last one showed counts from now on.

        Under DDP every rank calls it.
        """
        if self._recorded:  # the last epoch was left early
            self._end_epoch()
        self.epoch = epoch
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        self._under_way.clear()
        self._recorded = 0
        generator = epoch_generator(self.seed, self.epoch, own_rank())
        for batch in self.selection.plan(
            self.sampler, self.batch_size, self.drop_last, self.epoch, generator
        ):
            self._under_way.append(batch)
            yield batch.indices

    def __len__(self) -> int:
        assert isinstance(self.sampler, Sized)
        return self.selection.num_batches(len(self.sampler), self.batch_size, self.drop_last)

    @property
    def current(self) -> Batch:
        """The batch that the training loop is at: the oldest one not yet recorded.

        Methods and selections that deal with single samples (SAF, InfoBatch) want it in
        :meth:`Method.step`; the others do not mind.

        Raises:
            AusamError: if every batch that was loaded has been recorded.
        """
        if not self._under_way:
            raise AusamError(
                "record() was called more often than batches were loaded; call it once for each "
                "batch, after step()"
            )
        return self._under_way[0]

    def record(self, result: StepResult) -> None:
        """Let the selection learn from the step over the present batch; once a batch, after it.

        The last batch of an epoch ends it: what was learned enters the table, ranks exchange it,
        and :meth:`state_dict` holds it. No other call waits for the device.
        """
        if self.current.weights is not None and not result.weighted:
            raise AusamError(
                f"{type(self.selection).__name__} weights its samples, but the step did not know; "
                "call method.step(closure, batch=sampler.current)"
            )
        self.selection.record(self.current.indices, result)
        self.pass_over()

    def pass_over(self) -> None:
        """Instead of :meth:`record`, for a batch of which nothing can be learned."""
        _ = self.current  # says so where there is none
        self._under_way.popleft()
        self._recorded += 1
        if self._recorded == len(self):
            self._end_epoch()

    def _end_epoch(self) -> None:
        self.selection.end_epoch()
        self._recorded = 0

    def state_dict(self) -> dict[str, Any]:
        """Seed, epoch and the selection's memory: tensors and plain values.

        Within an epoch it holds the memory as of its beginning, because a resumed run starts the
        epoch again.
        """
        return {"seed": self.seed, "epoch": self.epoch, "selection": self.selection.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; call :meth:`set_epoch` with the next epoch afterwards."""
        self.selection.load_state_dict(state["selection"])
        self.seed, self.epoch = state["seed"], state["epoch"]
        self._under_way.clear()
        self._recorded = 0
