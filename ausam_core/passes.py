"""The seam between a method and a framework: how a forward and a backward pass are run.

A method says *when* the loss is computed and differentiated; how that is done (a closure,
MMEngine's ``train_step``, with or without a loss scaler) is the business of a :class:`Passes`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from ausam_core.batch import Batch
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord, as_record, loud
from ausam_core.random_state import RandomState

_second_pass_depth = 0


def in_second_pass() -> bool:
    """True while the loss is computed at the perturbed weights.

    For code inside a model that need not be paid for twice, such as a training accuracy that is
    only logged.
    """
    return _second_pass_depth > 0


@contextmanager
def second_pass() -> Iterator[None]:
    """Mark the enclosed forward and backward as pass 2."""
    global _second_pass_depth
    _second_pass_depth += 1
    try:
        yield
    finally:
        _second_pass_depth -= 1


def weights_of_pass(batch: Batch | None) -> Tensor | None:
    """The weights that a planned batch wants in the pass that is running, ``[N]``, or None."""
    if batch is None or batch.weights is None:
        return None
    wanted = "after" if in_second_pass() else "before"
    return batch.weights.values if batch.weights.loss == wanted else None


class Passes(ABC):
    """Runs the passes of one step over one batch."""

    #: The batch as it was planned; None where nobody told.
    batch: Batch | None = None
    #: Whether DDP averages the gradient of this batch; False in ``no_sync()``.
    averaged = True

    @abstractmethod
    def forward(self, subset: Tensor | None = None) -> ForwardRecord:
        """Compute the loss at the present weights. Every call sees the same batch.

        Args:
            subset: positions of the samples to use, ``[N']``, int64, on the device; all by default.
        """

    @abstractmethod
    def backward(self, record: ForwardRecord) -> None:
        """Add the gradient of ``record.total`` to ``.grad``."""

    @abstractmethod
    def unscaled(self, norm: Tensor) -> Tensor:
        """A norm of ``.grad`` without loss scale and accumulation factor; stays on the device."""


class ClosurePasses(Passes):
    """Passes over a closure of a plain PyTorch loop.

    Args:
        closure: runs the forward pass and returns the loss of each sample ``[N]``, a scalar, or a
            record.
        batch: the batch as it was planned, or None.
        scaler: a ``torch.amp.GradScaler`` in use, or None.
        factor: the loss is multiplied by it (1/k with k accumulated batches).
        averaged: see :class:`Passes`.
        local_first: context in which pass 1 runs, to keep DDP from averaging its gradient.
        replay_random_state: give pass 2 the random numbers (dropout masks) of pass 1.
    """

    def __init__(
        self,
        closure: Callable[..., Tensor | ForwardRecord],
        batch: Batch | None = None,
        scaler: torch.amp.GradScaler | None = None,
        factor: float = 1.0,
        averaged: bool = True,
        local_first: Callable[[], AbstractContextManager] = nullcontext,
        replay_random_state: bool = False,
    ) -> None:
        self.closure, self.batch, self.scaler, self.factor = closure, batch, scaler, factor
        self.averaged = averaged
        self.local_first, self.replay_random_state = local_first, replay_random_state
        self._random_state: RandomState | None = None

    def forward(self, subset: Tensor | None = None) -> ForwardRecord:
        if self.replay_random_state:
            if self._random_state is None:
                self._random_state = RandomState.capture()
            else:
                self._random_state.restore()
        with self._synchronisation():
            value = self.closure() if subset is None else self._on_subset(subset)
        return as_record(value, weights_of_pass(self.batch))

    def backward(self, record: ForwardRecord) -> None:
        loss = record.total if self.factor == 1.0 else record.total * self.factor
        with self._synchronisation():
            loss = loss if self.scaler is None else self.scaler.scale(loss)
            loss.backward(gradient=loud(loss))

    def _on_subset(self, subset: Tensor) -> Tensor | ForwardRecord:
        if not inspect.signature(self.closure).parameters:
            raise AusamError(
                "this method trains a part of the batch in pass 2, so the closure must take the "
                "positions of the samples to use: def closure(subset=slice(None)): …"
            )
        return self.closure(subset)

    def unscaled(self, norm: Tensor) -> Tensor:
        if self.scaler is None:
            return norm if self.factor == 1.0 else norm / self.factor
        # scale() is the public way to the scale that stays on the device; get_scale() would wait
        # for it.
        return norm / self.scaler.scale(norm.new_full((), self.factor))

    def _synchronisation(self) -> AbstractContextManager:
        return nullcontext() if in_second_pass() else self.local_first()
