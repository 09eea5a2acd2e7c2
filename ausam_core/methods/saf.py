"""SAF: flatten the trajectory of the outputs instead of the loss around the weights.

Du et al., "Sharpness-Aware Training for Free" (NeurIPS 2022), Eq. 6: after epoch E_start
``L = CE + λ·τ²·KL(softmax(z^(e−Ẽ)/τ) ‖ softmax(z/τ))``, z^(e−Ẽ) the class scores of the same sample
Ẽ epochs ago. One pass a step.

Differences from the authors' code: what a rank stored is exchanged at the end of an epoch (there
most samples land on a rank that never saw them, whose references are zeros); a sample without a
reference adds nothing; tables grow with the data set (there 240 GB are reserved); they are in the
checkpoint; log-softmax instead of the logarithm of a softmax.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord, mean_loss
from ausam_core.methods.method import Method
from ausam_core.methods.trajectory import class_scores, trajectory_loss
from ausam_core.passes import Passes
from ausam_core.ranks import largest_of_ranks, number_of_ranks, sum_over_ranks
from ausam_core.step_result import StepResult


class SAF(Method):
    """The base optimizer on a loss with the trajectory term.

    The closure must return a :class:`~ausam_core.ForwardRecord` with ``outputs``, the class scores
    ``[N, C]`` of the pass, and the step must know its batch: ``step(closure,
    batch=batch)``. Memory: n·C·(Ẽ+1) numbers of 4 bytes on the device, 80 MB for
    CIFAR-100.

    Args:
        optimizer, model: see :class:`~ausam_core.Method`.
        lam: weight λ of the trajectory term; 0.3 in the authors' README (0.16 in their code).
        tau: temperature τ.
        start_epoch: the term counts in the epochs after this one (E_start).
        lag: Ẽ, how many epochs the reference lies back.
        **kwargs: see :class:`~ausam_core.Method`.
    """

    perturbs = False

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        lam: float = 0.3,
        tau: float = 5.0,
        start_epoch: int = 5,
        lag: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, **kwargs)
        if lag < 1 or tau <= 0 or lam < 0:
            raise AusamError(
                f"lag must be 1 or more, tau above 0, lam 0 or more; found {lag}, {tau}, {lam}"
            )
        self.lam, self.tau, self.start_epoch, self.lag = lam, tau, start_epoch, lag
        # epoch → class scores [n, C], NaN where a sample was not seen
        self._tables: dict[int, Tensor] = {}
        self._shared_until = -1

    def gradient(self, passes: Passes) -> StepResult:
        if passes.batch is None:
            raise AusamError(
                "SAF remembers the outputs of each sample, but the step does not know its batch; "
                "call method.step(closure, batch=batch) with the batch from sampler.over(loader)"
            )
        first = passes.forward()
        scores = class_scores(first, "SAF")
        epoch, indices = passes.batch.epoch, passes.batch.indices
        self._enter(epoch)
        where = torch.tensor(indices).to(scores.device, non_blocking=True)
        total = first.total
        reference = self._tables.get(epoch - self.lag)
        if reference is not None and epoch > self.start_epoch and max(indices) < len(reference):
            known = reference[where]
            usable = ~known[:, 0].isnan()
            term = trajectory_loss(torch.where(usable[:, None], known, 0.0), scores, self.tau)
            total = total + self.lam * mean_loss(term * usable, passes.weights())
        self._store(epoch, where, max(indices), scores.detach())
        passes.backward(ForwardRecord(total))
        return self.result(passes, first, None, None, self.finite_gradient(total))

    def end_epoch(self) -> None:
        newest = max(self._tables, default=-1)
        group = self.process_group
        if newest > self._shared_until and number_of_ranks(group) > 1:
            self._tables[newest] = _exchange(self._tables[newest], group)
        self._shared_until = max(newest, self._shared_until)

    def method_state(self) -> dict[str, Any]:
        # A tuple is one value to torch.distributed.checkpoint, which has to find in a fresh method
        # every key that was saved, and there neither the epochs nor the tables' sizes are known.
        tables = tuple((e, t.to("cpu", copy=True)) for e, t in self._tables.items())
        return {"tables": tables, "shared_until": self._shared_until}

    def load_method_state(self, state: dict[str, Any]) -> None:
        device = self.parameters()[0].device
        # Pairs, or a dict as it was saved before.
        self._tables = {epoch: table.to(device) for epoch, table in dict(state["tables"]).items()}
        self._shared_until = state["shared_until"]

    def _enter(self, epoch: int) -> None:
        """At the first batch of an epoch: close the last one, drop what lies too far back."""
        if epoch in self._tables:
            return
        self.end_epoch()
        self._tables = {e: t for e, t in self._tables.items() if epoch - self.lag <= e < epoch}

    @torch.no_grad()
    def _store(self, epoch: int, where: Tensor, largest: int, outputs: Tensor) -> None:
        table = self._tables.get(epoch)
        if table is None or largest >= len(table):
            # Grown by doubling: the data set's size need not be known.
            rows = max(largest + 1, 2 * (0 if table is None else len(table)))
            if table is None and self._tables:
                rows = max(rows, max(len(t) for t in self._tables.values()))
            grown = outputs.new_full((rows, outputs.shape[1]), torch.nan, dtype=torch.float32)
            if table is not None:
                grown[: len(table)] = table.to(grown)
            table = grown
        self._tables[epoch] = table.to(outputs.device)
        self._tables[epoch][where] = outputs.float()


def _exchange(table: Tensor, group: Any) -> Tensor:
    """Put together what the ranks stored; a sample that two of them saw gets the mean."""
    rows = largest_of_ranks(len(table), group)
    whole = table.new_full((rows, table.shape[1]), torch.nan)
    whole[: len(table)] = table
    seen = ~whole[:, :1].isnan()
    total = sum_over_ranks(torch.where(seen, whole, 0.0), group)
    return total / sum_over_ranks(seen.float(), group)  # 0/0 is NaN: nobody saw it
