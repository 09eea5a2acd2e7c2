"""InfoBatch: leave out easy samples for an epoch, and let the rest stand for them.

Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning" (ICLR 2024). Of
the samples whose last loss is below the mean loss a share r is left out; those kept of them weigh
1/(1−r). Batches stay full, so there are fewer of them. In the last part of the run nothing is left
out. In the AUSAM paper (Table 4): SGD+Info; SAM+Info* with the first loss, SAM+Info with the
second.

Differences from the public code: no patching of torch's loader; draws from a generator of the epoch
(there the user's NumPy seed is overwritten); a last part that is not a whole number of epochs works
(there the weights are then never reset); scores move once an epoch, are merged across ranks by
number (there indices travel as fp32) and are in the checkpoint; samples that were never trained are
kept (there they hold a score of 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ausam_core.batch import Batch, Weights
from ausam_core.errors import AusamError
from ausam_core.ranks import smallest_of_ranks
from ausam_core.scores import Scores
from ausam_core.selection.selection import ScoredSelection
from ausam_core.step_result import StepResult


class InfoBatchSelection(ScoredSelection):
    """Prunes samples with a small loss, by a new draw in each epoch.

    The number of batches changes from epoch to epoch: count a learning-rate schedule in epochs.

    Args:
        num_samples: size n of the data set.
        r: share of the easy samples that is left out, in [0, 1).
        delta: share of the epochs in which samples are left out, in [0, 1].
        epochs: number of epochs of the run; by default what :meth:`begin_run` says.
        start: see :class:`~ausam_core.Selection`.
        loss: the loss that is remembered and weighted: ``"before"`` the perturbation or
            ``"after"``.

    Raises:
        AusamError: for values outside these ranges.
    """

    def __init__(
        self,
        num_samples: int,
        r: float = 0.5,
        delta: float = 0.875,
        epochs: int | None = None,
        loss: Literal["before", "after"] = "before",
        start: float = 0.0,
    ) -> None:
        super().__init__(Scores(num_samples, "latest"), start)
        if not 0 <= r < 1:
            raise AusamError(f"r is the share of easy samples left out, in [0, 1); found {r}")
        if not 0 <= delta <= 1:
            raise AusamError(f"delta is a share of the epochs, in [0, 1]; found {delta}")
        if loss not in ("before", "after"):
            raise AusamError(f'loss must be "before" or "after", found {loss!r}')
        self.r, self.delta, self.epochs, self.loss = float(r), float(delta), epochs, loss
        self._planned: int | None = None

    def begin_run(self, epochs: int) -> None:
        super().begin_run(self.epochs or epochs)

    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        raise AusamError(
            "InfoBatch plans whole epochs and cannot choose within a loaded batch; put it into a "
            "SelectiveBatchSampler"
        )

    def plan(
        self,
        order: Iterable[int],
        batch_size: int,
        drop_last: bool,
        epoch: int,
        generator: torch.Generator,
    ) -> Iterator[Batch]:
        indices = torch.tensor(list(order))
        kept, weights = self._prune(indices, epoch, generator)
        size = smallest_of_ranks(len(kept), self.process_group)
        batches = size // batch_size if drop_last else math.ceil(size / batch_size)
        ends = [min((i + 1) * batch_size, size) for i in range(batches)]
        if len(ends) > 1 and ends[-1] - ends[-2] == 1:
            del ends[-2]  # BatchNorm cannot normalise a single sample: one batch of K + 1
        self._planned = len(ends)
        stands_for = len(indices) / max(size, 1)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            samples = kept[start:end].tolist()
            yield Batch(
                samples,
                round(len(samples) * stands_for),
                epoch,
                None if weights is None else Weights(weights[start:end], self.loss),
            )

    def num_batches(self, num_samples: int, batch_size: int, drop_last: bool) -> int:
        """Of the epoch that was last planned; before the first, that of all samples."""
        if self._planned is not None:
            return self._planned
        return super().num_batches(num_samples, batch_size, drop_last)

    def record(self, indices: Sequence[int], result: StepResult) -> None:
        losses = result.before if self.loss == "before" else result.after
        if losses is None:
            if result.before is not None and result.perturbs:
                return  # a method that perturbs now and then, and not in this step
            raise AusamError(
                f"InfoBatchSelection(loss={self.loss!r}) learns from the loss of each sample "
                f"{self.loss} the perturbation, and this step gave none; return the loss of each "
                'sample, shape [N], and use loss="before" with a method that does not perturb'
            )
        self.scores.record(indices, losses)

    def settings(self) -> dict[str, Any]:
        return {
            "selection": "info_batch",
            "r": self.r,
            "delta": self.delta,
            "loss": self.loss,
        }

    def _prune(
        self, indices: Tensor, epoch: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Samples of this epoch and their weights, in the order given."""
        losses = self.scores.of(indices)
        known = losses.isfinite()
        last = self.delta * self.known_epochs("delta")
        if self.r == 0 or not self.first_epoch <= epoch < last or not known.any():
            return indices, None
        # The mean is over the whole data set, so that all ranks agree on who is easy.
        easy = losses < self.scores.mean()
        candidates = easy.nonzero().flatten()
        shuffled = candidates[torch.randperm(len(candidates), generator=generator)]
        keep = torch.ones(len(indices), dtype=torch.bool)
        keep[shuffled[: int(self.r * len(candidates))]] = False
        weights = torch.where(easy, 1 / (1 - self.r), 1.0)
        return indices[keep], weights[keep]
