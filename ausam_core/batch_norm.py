"""Running statistics of normalisation layers: frozen during a pass.

A SAM step runs the model twice on one batch. Left alone, BatchNorm would move its running mean and
variance twice, the second time by activations at the perturbed weights, which no one will ever
evaluate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class RunningStatistics:
    """The running statistics of a model's normalisation layers.

    BatchNorm and its relatives (SyncBatchNorm too) are told for a while that they track nothing:
    they normalise by the statistics of the batch as before and leave buffers and counter alone, at
    no cost. Setting ``momentum`` to 0, as public SAM code does, still counts batches, fails with
    ``momentum=None``, and loses the momentum if done twice. Whatever else owns a ``running_mean``
    (InstanceNorm, layers of one's own) has its buffers copied and put back.

    Example:
        >>> statistics = RunningStatistics(model)
        >>> with statistics.frozen():
        ...     loss = model(images).sum()
    """

    def __init__(self, model: nn.Module) -> None:
        owners = [
            m for m in model.modules() if isinstance(getattr(m, "running_mean", None), Tensor)
        ]
        self._batch_norms = [m for m in owners if isinstance(m, _BatchNorm)]
        self._others = [m for m in owners if not isinstance(m, _BatchNorm)]
        self.keep()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep every running statistic as it is. Nests; restores also when the body raises."""
        tracking = [m for m in self._batch_norms if m.track_running_stats]
        buffers = [b for m in self._others for b in m.buffers(recurse=False)]
        with torch.no_grad():
            kept = [b.clone() for b in buffers]
        for module in tracking:
            module.track_running_stats = False
        try:
            yield
        finally:
            for module in tracking:
                module.track_running_stats = True
            if buffers:
                with torch.no_grad():
                    torch._foreach_copy_(buffers, kept)

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the statistics as they are, for :meth:`repair`."""
        self._kept = [b.clone() for b in self._buffers()]

    @torch.no_grad()
    def repair(self) -> None:
        """Put back what a forward that was not finite left in the running statistics.

        An update can be skipped afterwards, but NaN in a running mean stays for ever. Entries that
        are not finite get the value that was kept.
        """
        for buffer, good in zip(self._buffers(), self._kept, strict=True):
            buffer.copy_(torch.where(buffer.isfinite(), buffer, good))

    def _buffers(self) -> list[Tensor]:
        owners = (*self._batch_norms, *self._others)
        return [b for m in owners for b in m.buffers(recurse=False) if b.is_floating_point()]
