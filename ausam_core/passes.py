"""The seam between a method and a framework: how a forward and a backward pass are run.

A method says *when* the loss is computed and differentiated. :class:`Passes` runs it with all that
must hold in any framework: the same random numbers again, DDP averaging or not, loss scale and
accumulation factor, weights of the samples, bad losses, what it cost. A framework only says how
a forward pass and a backward pass are called.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ausam_core.batch import Batch
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord, as_record
from ausam_core.random_state import RandomState
from ausam_core.ranks import align_gradients, finish_backward, is_averaged, without_averaging
from ausam_core.step_result import Cost

Closure = Callable[..., Tensor | ForwardRecord]
"""Runs the forward pass and returns the loss of each sample, ``[N]``, a scalar, or a record."""

Backward = Callable[[Tensor], object]
"""Differentiates a scalar loss: ``loss.backward()``, or a framework's own way."""

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


def weights_of_pass(
    method: Stepping, batch: Batch | None, subset: Tensor | None = None
) -> Tensor | None:
    """The weights that a planned batch wants in the pass that is running, or None.

    Where the gradient of pass 1 may become that of the update, weights of the loss after a
    perturbation count in it too: no other pass may come to see them.

    Args:
        method: whose pass it is.
        batch: as it was planned, N samples.
        subset: positions of the samples that the pass sees, ``[N']``; all by default.

    Returns:
        ``[N]``, or ``[N']`` on the device of ``subset``, which is not waited for.
    """
    if batch is None or batch.weights is None:
        return None
    present = "after" if in_second_pass() else "before"
    if batch.weights.loss not in (present, "both"):
        if in_second_pass() or not method.first_pass_may_be_last:
            return None
    values = batch.weights.values
    return values if subset is None else values.to(subset.device, non_blocking=True)[subset]


class Stepping(Protocol):
    """What the passes of a step look up in the method whose step it is."""

    model: nn.Module
    scaler: torch.amp.GradScaler | None
    cost: Cost
    replay_random_state: bool

    @property
    def process_group(self) -> Any: ...

    @property
    def first_pass_is_local(self) -> bool: ...

    @property
    def first_pass_may_be_last(self) -> bool: ...

    def parameters(self) -> list[nn.Parameter]: ...


class Passes(ABC):
    """Runs the passes of one step over one batch.

    Args:
        method: the method whose step it is.
        batch: the batch as it was planned; None where nobody told.
        factor: the loss is multiplied by it (1/k with k accumulated batches).
        first: the record of pass 1, where the framework has run it already.
        random_state: torch's random state before pass 1, where the framework has run it already.

    Attributes:
        averaged: whether the gradient of a backward pass is known to be averaged over ranks; not
            so in ``no_sync()``.
    """

    def __init__(
        self,
        method: Stepping,
        batch: Batch | None = None,
        factor: float = 1.0,
        first: ForwardRecord | None = None,
        random_state: RandomState | None = None,
    ) -> None:
        self.method, self.batch, self.factor = method, batch, factor
        self._first, self._random_state = first, random_state
        self.averaged = is_averaged(method.model, method.process_group)
        # What the loss was multiplied by on its way into backward, as its gradient tells.
        self._scale: Tensor | None = None
        self._samples = 0

    @abstractmethod
    def run_forward(self, subset: Tensor | None) -> ForwardRecord:
        """Compute the loss at the present weights, of the whole batch or of a part."""

    @abstractmethod
    def run_backward(self, loss: Tensor) -> None:
        """Differentiate a scalar loss, with whatever loss scale the framework has."""

    @property
    def size(self) -> int | None:
        """N, the samples of the batch, where somebody told."""
        return None if self.batch is None else len(self.batch)

    def is_scaled(self) -> bool:
        """Whether the loss may be multiplied by anything on its way into backward."""
        return True

    def forward(self, subset: Tensor | None = None) -> ForwardRecord:
        """Compute the loss at the present weights. Every call sees the same batch.

        Args:
            subset: positions of the samples to use, ``[N']``, int64, on the device; all by default.
        """
        record, self._first = self._first, None
        if record is None:
            self._set_random_state()
            with self.averaging():
                record = self.run_forward(subset)
        self._samples = self._count(record, subset)
        self.method.cost.forward += self._samples
        return record

    def backward(self, record: ForwardRecord) -> None:
        """Add the gradient of ``record.total`` to ``.grad``.

        Raises:
            AusamError: for a loss that nothing can be learned from.
        """
        loss = record.total
        if not loss.requires_grad:
            raise AusamError(
                "the loss does not depend on any parameter that requires a gradient; return it "
                "attached to its graph (no .item(), .detach(), torch.no_grad()), and leave "
                "backward() to the method"
            )
        parameters = self.method.parameters()
        finish_backward(self.method.model, parameters)
        # On the way from the loss to the weights, so it does not matter who calls backward.
        handle = loss.register_hook(self._on_its_way(loss))
        try:
            with self.averaging():
                self.run_backward(loss if self.factor == 1.0 else loss * self.factor)
        finally:
            handle.remove()
        if not any(p.grad is not None for p in parameters):
            raise AusamError(
                "backward left no gradient in any parameter of the optimizer; build the optimizer "
                "after the model is wrapped or sharded, and leave fully_shard's "
                "set_requires_gradient_sync on: each batch climbs by its own gradient"
            )
        align_gradients(parameters)
        self.method.cost.backward += self._samples

    def unscaled(self, norm: Tensor) -> Tensor:
        """A norm of ``.grad`` without loss scale and accumulation factor; stays on the device."""
        if not self.is_scaled() or self._scale is None:
            return norm
        return norm / self._scale.to(norm)

    def weights(self, subset: Tensor | None = None) -> Tensor | None:
        """The weights of the samples in the loss of the pass that is running, or None."""
        return weights_of_pass(self.method, self.batch, subset)

    def averaging(self) -> AbstractContextManager[None]:
        """The context that keeps DDP from averaging a gradient which is to stay on its rank."""
        if in_second_pass() or not self.method.first_pass_is_local:
            return nullcontext()
        return without_averaging(self.method.model)

    def _set_random_state(self) -> None:
        """Give the second pass, if asked to, the random numbers (dropout masks) of the first."""
        if not self.method.replay_random_state:
            return
        if self._random_state is None:
            self._random_state = RandomState.capture()
        else:
            self._random_state.restore()

    def _on_its_way(self, loss: Tensor) -> Callable[[Tensor], Tensor]:
        def hook(gradient: Tensor) -> Tensor:
            self._scale = gradient
            # Plus 0, or NaN where the loss is not finite. An infinite loss may have a finite
            # gradient; under DDP its rank would skip the update and the others not. NaN reaches
            # them all.
            return gradient + (loss - loss)

        return hook

    def _count(self, record: ForwardRecord, subset: Tensor | None) -> int:
        if subset is not None:
            return subset.numel()
        if record.per_sample is not None:
            return record.per_sample.numel()
        return self.size or 0


class ClosurePasses(Passes):
    """Passes over a closure of a plain PyTorch loop.

    Args:
        method, batch, factor: see :class:`Passes`.
        closure: runs the forward pass.
        backward: how to differentiate; by default through the method's scaler, if it has one.
    """

    def __init__(
        self,
        method: Stepping,
        closure: Closure,
        batch: Batch | None = None,
        factor: float = 1.0,
        backward: Backward | None = None,
    ) -> None:
        super().__init__(method, batch, factor)
        self.closure, self._backward = closure, backward

    def run_forward(self, subset: Tensor | None) -> ForwardRecord:
        value = self.closure() if subset is None else self._on_subset(subset)
        weights = self.weights(subset)
        if any(p.grad is not None for p in self.method.parameters()):
            raise AusamError(
                "the closure left gradients behind; it only computes the loss, and the method "
                "calls backward() and the optimizer"
            )
        return as_record(value, weights)

    def run_backward(self, loss: Tensor) -> None:
        if self._backward is not None:
            self._backward(loss)
        elif self.method.scaler is not None:
            self.method.scaler.scale(loss).backward()
        else:
            loss.backward()

    def is_scaled(self) -> bool:
        return self.factor != 1.0 or self._backward is not None or self.method.scaler is not None

    def _on_subset(self, subset: Tensor) -> Tensor | ForwardRecord:
        # By name: a closure may have parameters of its own with defaults (lambda x=x, y=y: …).
        if "subset" not in inspect.signature(self.closure).parameters:
            raise AusamError(
                f"{type(self.method).__name__} trains a part of the batch, so the closure must "
                "take the positions of the samples to use under the name subset: "
                "def closure(subset=slice(None)): …"
            )
        return self.closure(subset=subset)
