"""What is remembered of each sample between epochs: the estimate of its gradient norm.

During an epoch the differences ``d_i`` stay where they arise, on the device; :meth:`Scores.merge`
moves them once, at its end, and adds up what the ranks saw. So a step waits for nothing, and a
selection reads a table that does not change while an epoch is being planned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.ranks import number_of_ranks, sum_over_ranks

# Observations of this many batches are joined on the device, so that an epoch of a huge data set
# does not hold a tensor object, and the 512 bytes that CUDA gives the smallest allocation, for each
# batch.
_JOIN = 256


class Scores:
    """Estimated gradient norm ``g_i`` of each sample of a data set, on the host.

    ``"mean"``: the mean of ``d_i`` over the epochs in which sample i was trained (AUSAM, Eq. 8).
    The paper divides by the number of all epochs, but where a sample was not trained there is no
    ``d_i``, and counting it as 0 would starve samples with a small score; the authors' code divides
    by the visits, as here. ``"latest"``: the last ``d_i`` that was observed (AUSAM-1, Eq. 7).

    Memory: 8 bytes a sample (``"latest"``: 4); during an epoch 8 more for each sample trained so
    far.

    Args:
        num_samples: size n of the data set.
        estimate: ``"mean"`` or ``"latest"``.
    """

    def __init__(self, num_samples: int, estimate: Literal["mean", "latest"] = "mean") -> None:
        if num_samples < 1:
            raise AusamError(f"the data set must have at least one sample, found {num_samples}")
        if estimate not in ("mean", "latest"):
            raise AusamError(
                f'estimate must be "mean" (AUSAM) or "latest" (AUSAM-1), found {estimate!r}'
            )
        self.num_samples, self.estimate = num_samples, estimate
        self._averages = estimate == "mean"
        # "mean": the sum of the observations; "latest": the last one, NaN before the first.
        self._value = torch.full(
            (num_samples,), 0.0 if self._averages else math.nan, dtype=torch.float32
        )
        self._count = torch.zeros(num_samples if self._averages else 0, dtype=torch.int32)
        self._pending_indices: list[Tensor] = []
        self._pending_values: list[Tensor] = []

    @property
    def nbytes(self) -> int:
        """Bytes of the table, without what the running epoch has gathered."""
        return self._value.nbytes + self._count.nbytes

    def record(self, indices: Sequence[int], differences: Tensor) -> None:
        """Keep the ``d_i`` of one batch until the end of the epoch.

        O(N), and nothing is read from the device.

        Args:
            indices: the samples trained, N numbers in [0, n).
            differences: ``[N]``, on any device.
        """
        if len(indices) != differences.numel():
            raise AusamError(
                f"{len(indices)} samples were chosen, but the step gave {differences.numel()} "
                "losses; the closure must return one loss for each sample of the batch that the "
                "sampler gave"
            )
        if indices and not 0 <= min(indices) <= max(indices) < self.num_samples:
            raise self._unknown(min(indices), max(indices))
        self._pending_indices.append(torch.as_tensor(indices, dtype=torch.int32))
        self._pending_values.append(differences.detach().float())
        if len(self._pending_values) % _JOIN == 0:
            self._pending_indices[-_JOIN:] = [torch.cat(self._pending_indices[-_JOIN:])]
            self._pending_values[-_JOIN:] = [torch.cat(self._pending_values[-_JOIN:])]

    def forget_pending(self) -> None:
        """Drop what the running epoch has gathered, because it will be run again."""
        self._pending_indices, self._pending_values = [], []

    def merge(self, group: Any = None) -> None:
        """Enter the epoch's observations into the table: one transfer from the device.

        Under ``torch.distributed`` every rank of the group (by default all) must call it;
        afterwards they have the same table.
        Observations that are NaN or infinite are dropped: the old score stays. A sample that two
        ranks trained (padding of a distributed sampler) counts with both observations.
        """
        ranks = number_of_ranks(group)
        if not self._pending_values and ranks == 1:
            return
        total, count = (
            torch.zeros(self.num_samples, dtype=torch.float32),
            torch.zeros(self.num_samples, dtype=torch.int32),
        )
        if self._pending_values:
            indices = torch.cat(self._pending_indices).long()
            values = torch.cat(self._pending_values).cpu()
            usable = values.isfinite()
            indices, values = indices[usable], values[usable]
            total.index_add_(0, indices, values)
            count.index_add_(0, indices, torch.ones_like(indices, dtype=torch.int32))
            self.forget_pending()
        if ranks > 1:
            total, count = sum_over_ranks(total, group), sum_over_ranks(count, group)
        if self._averages:
            self._value += total
            self._count += count
        else:
            self._value = torch.where(count > 0, total / count, self._value)

    def of(self, indices: Tensor) -> Tensor:
        """``g_i`` of some samples. O(K), whatever n is.

        Args:
            indices: ``[K]``, int64.

        Returns:
            ``[K]``, fp32; NaN for samples that were never trained.

        Raises:
            AusamError: for a sample that the table does not have.
        """
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < self.num_samples:
            raise self._unknown(int(indices.min()), int(indices.max()))
        value = self._value[indices]
        return value / self._count[indices] if self._averages else value

    @property
    def is_empty(self) -> bool:
        """Whether no sample has a score."""
        return not bool(self._count.any() if self._averages else (~self._value.isnan()).any())

    def mean(self) -> Tensor:
        """Mean score of the samples that were trained, 0-dim; NaN where none was. O(n)."""
        return self.of(torch.arange(self.num_samples)).nanmean()

    def _unknown(self, least: int, largest: int) -> AusamError:
        return AusamError(
            f"the sampler gave samples {least} to {largest}, but the selection was made for a data "
            f"set of {self.num_samples}; make it with num_samples=len(dataset)"
        )

    def state_dict(self) -> dict[str, Any]:
        """The table, without what the running epoch gathered: a resumed run starts it again."""
        return {
            "estimate": self.estimate,
            "value": self._value.clone(),
            "count": self._count.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a table.

        Raises:
            AusamError: if it belongs to a data set of another size or to another estimate.
        """
        found = state["value"].numel()
        if found != self.num_samples:
            raise AusamError(
                f"the saved scores are of a data set of {found} samples, but this one has "
                f"{self.num_samples}; resume with the same data, or start a new run from the "
                "weights alone"
            )
        if state["estimate"] != self.estimate:
            raise AusamError(
                f"the saved scores are estimated by {state['estimate']!r}, but {self.estimate!r} "
                "is configured; resume with the same setting, or start a new run from the weights "
                "alone"
            )
        self._value, self._count = state["value"].cpu().clone(), state["count"].cpu().clone()
        self.forget_pending()
