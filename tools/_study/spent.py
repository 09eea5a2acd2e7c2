"""What the runs of a study spent, held against their budgets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from _study.budget import fewest_epochs, passes_of_run
from _study.config import configure
from _study.record import Record
from _study.study import Arm, Study

_NEAR = 0.01


def costs(study: Study, found: Mapping[str, Mapping[int, Record]]) -> dict[str, float]:
    """What each arm cost, in budgets of the study.

    Its ``times`` where every run came as near as whole epochs can, or to a hundredth (LookSAM's
    k-th step may miss an epoch's last batch, which is smaller); else the mean of what its runs
    spent, with five digits: where ``cost`` of the arm was said wrongly, say.
    """
    return {name: _cost(study, study.arms[name], runs) for name, runs in found.items()}


def _cost(study: Study, arm: Arm, runs: Mapping[int, Record]) -> float:
    size = configure(study, arm, min(runs)).train_dataloader.batch_size
    budget = study.budget * arm.times
    if all(
        abs(record.passes - budget)
        <= max(_rounding(study, arm, size, record.epochs), _NEAR * budget)
        for record in runs.values()
    ):
        return arm.times
    return float(f"{statistics.mean(r.passes for r in runs.values()) / study.budget:.5g}")


def _rounding(study: Study, arm: Arm, size: int, epochs: int) -> float:
    """Half of what an epoch costs there: budgets are met by whole epochs."""
    around = range(max(epochs - 1, fewest_epochs(arm)), epochs + 2)
    passes = [passes_of_run(arm, study.samples, size, e) for e in around]
    return max(b - a for a, b in zip(passes, passes[1:], strict=False)) / 2
