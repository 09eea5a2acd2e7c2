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
from torch import distributed as dist

from ausam_core.batch import Batch, Weights
from ausam_core.errors import AusamError
from ausam_core.methods.method import StepResult
from ausam_core.scores import Scores
from ausam_core.selection.selection import ScoredSelection


class InfoBatchSelection(ScoredSelection):
    """Prunes samples with a small loss, anew in each epoch.

    The number of batches changes from epoch to epoch: count a learning-rate schedule in epochs.

    Args:
        num_samples: size n of the data set.
        r: share of the easy samples that is left out, in [0, 1).
        delta: share of the epochs in which samples are left out, in [0, 1].
        epochs: number of epochs of the run.
        loss: the loss that is remembered and weighted: ``"before"`` the perturbation or
            ``"after"``.

    Raises:
        AusamError: for values outside these ranges.
    """

    needs_losses = True

    def __init__(
        self,
        num_samples: int,
        r: float = 0.5,
        delta: float = 0.875,
        epochs: int = 200,
        loss: Literal["before", "after"] = "before",
    ) -> None:
        if not 0 <= r < 1:
            raise AusamError(f"r is the share of easy samples left out, in [0, 1); found {r}")
        if not 0 <= delta <= 1:
            raise AusamError(f"delta is a share of the epochs, in [0, 1]; found {delta}")
        if loss not in ("before", "after"):
            raise AusamError(f'loss must be "before" or "after", found {loss!r}')
        self.r, self.delta, self.epochs, self.loss = float(r), float(delta), epochs, loss
        self.scores = Scores(num_samples, "latest")
        self._planned: int | None = None

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
        size = _same_on_all_ranks(len(kept))
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
            "epochs": self.epochs,
            "loss": self.loss,
        }

    def _prune(
        self, indices: Tensor, epoch: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Samples of this epoch and their weights, in the order given."""
        losses = self.scores.of(indices)
        known = losses.isfinite()
        if self.r == 0 or epoch >= self.delta * self.epochs or not known.any():
            return indices, None
        # The mean is over the whole data set, so that all ranks agree on who is easy.
        easy = losses < self.scores.mean()
        candidates = easy.nonzero().flatten()
        shuffled = candidates[torch.randperm(len(candidates), generator=generator)]
        keep = torch.ones(len(indices), dtype=torch.bool)
        keep[shuffled[: int(self.r * len(candidates))]] = False
        weights = torch.where(easy, 1 / (1 - self.r), 1.0)
        return indices[keep], weights[keep]


def _same_on_all_ranks(count: int) -> int:
    """The smallest count of all ranks: DistributedDataParallel needs as many batches on each."""
    if not (dist.is_available() and dist.is_initialized()):
        return count
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    smallest = torch.tensor(count, device=device)
    dist.all_reduce(smallest, dist.ReduceOp.MIN)
    return int(smallest)
