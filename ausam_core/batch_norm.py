"""Running statistics, and whatever else a forward pass moves by itself: frozen during a pass.

A SAM step runs the model twice on one batch. Left alone, BatchNorm would move its running mean and
variance twice, the second time by activations at the perturbed weights, which no one will ever
evaluate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Buffer(NamedTuple):
    """A buffer, or a parameter that no optimizer moves, as it was found."""

    owner: nn.Module
    name: str
    tensor: Tensor
    version: int

    @property
    def place(self) -> Any:
        """Where the module keeps it."""
        own = self.owner
        return own._parameters if isinstance(self.tensor, nn.Parameter) else own._buffers

    def moved(self) -> bool:
        """Whether it was written to or replaced since."""
        now = self.place.get(self.name)
        return now is not self.tensor or self.tensor._version != self.version


class RunningStatistics:
    """The running statistics of a model, whatever its layers call them.

    BatchNorm and its relatives (SyncBatchNorm too) are told for a while that they track nothing:
    they normalise by the statistics of the batch as before and leave buffers and counter alone, at
    no cost. Setting ``momentum`` to 0, as public SAM code does, still counts batches, fails with
    ``momentum=None``, and loses the momentum if done twice. Any other layer (InstanceNorm, spectral
    normalisation, observers, a user's layers) has those buffers put back that a pass moves, and
    those parameters without a gradient: a teacher that the forward pass itself averages. A
    BatchNorm with a forward of its own is one of these, unless it says
    ``heeds_track_running_stats = True``. The layers are looked for again each time, because they
    can be replaced.

    Example:
        >>> statistics = RunningStatistics(model)
        >>> with statistics.frozen():
        ...     loss = model(images).sum()
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._before: list[_Buffer] | None = None
        self._kept: list[tuple[Tensor, Tensor]] | None = None

    def watch(self) -> None:
        """Note the buffers as they are before pass 1, so that pass 2 freezes what pass 1 moved.

        Without it, :meth:`frozen` copies every buffer that is not BatchNorm's.
        """
        self._before = [*self._other_buffers(), *self._resting_parameters()]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep every running statistic as it is. Nests; restores also when the body raises."""
        tracking = [m for m in self.model.modules() if _obeys(m) and m.track_running_stats]
        movable = list(self._other_buffers())
        if self._before is not None:
            movable += self._resting_parameters()
            moving = {(b.owner, b.name) for b in self._before if b.moved()}
            movable = [b for b in movable if (b.owner, b.name) in moving]
        with torch.no_grad():
            kept = [b.tensor.clone() for b in movable]
        for module in tracking:
            _tell(module, False)
        try:
            yield
        finally:
            for module in tracking:
                _tell(module, True)
            for buffer in movable:
                buffer.place[buffer.name] = buffer.tensor
            if movable:
                with torch.no_grad():
                    torch._foreach_copy_([b.tensor for b in movable], kept)

    @property
    def has_kept(self) -> bool:
        """Whether :meth:`keep` was called."""
        return self._kept is not None

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the statistics as they are, for :meth:`repair`."""
        self._kept = [(b, b.clone()) for b in self._statistics()]

    @torch.no_grad()
    def repair(self) -> None:
        """Put back what a forward that was not finite left in the running statistics.

        An update can be skipped afterwards, but NaN in a running mean stays for good. Entries that
        are not finite get the value that was kept.
        """
        for buffer, good in self._kept or ():
            if buffer.shape == good.shape:
                buffer.copy_(torch.where(buffer.isfinite(), buffer, good.to(buffer)))

    def _statistics(self) -> list[Tensor]:
        """Floating buffers of layers that have running statistics, and those that were seen to
        move."""
        moving = {b.owner for b in self._before or () if b.moved()}
        owners = [
            m
            for m in self.model.modules()
            if isinstance(m, _BatchNorm) or _tracks(m) or m in moving
        ]
        return [b for m in owners for b in m.buffers(recurse=False) if b.is_floating_point()]

    def _resting_parameters(self) -> Iterator[_Buffer]:
        for module in self.model.modules():
            for name, tensor in module._parameters.items():
                if tensor is not None and not tensor.requires_grad:
                    yield _Buffer(module, name, tensor, tensor._version)

    def _other_buffers(self) -> Iterator[_Buffer]:
        """Buffers of the layers that cannot be told to leave them alone."""
        for module in self.model.modules():
            if module._buffers and not _obeys(module):
                for name, tensor in module._buffers.items():
                    if tensor is not None:
                        yield _Buffer(module, name, tensor, tensor._version)


def _obeys(module: nn.Module) -> bool:
    """Whether a layer leaves its statistics alone when told that it tracks none."""
    if not isinstance(module, _BatchNorm):
        return False
    # A subclass with a forward of its own may not look at the flag; one that does says so.
    says_so = getattr(module, "heeds_track_running_stats", False)
    return says_so or type(module).forward.__module__.startswith("torch.nn.")


def _tell(module: nn.Module, tracks: bool) -> None:
    assert isinstance(module, _BatchNorm)
    module.track_running_stats = tracks


def _tracks(module: nn.Module) -> bool:
    return isinstance(module._buffers.get("running_mean"), Tensor)
