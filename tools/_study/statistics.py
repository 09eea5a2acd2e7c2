"""Means over seeds, and differences of arms with their uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from _study.record import Record
from ausam_core.errors import AusamError

# 97.5 % points of Student's t for 1 to 30 degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with the half width of its 95 % interval.

    Attributes:
        mean: the mean.
        half: half the width of the t interval; infinite for a single seed.
        n: number of seeds.
    """

    mean: float
    half: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        return abs(self.mean) > self.half


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % t interval.

    Raises:
        AusamError: for no values, or more than 31.
    """
    n = len(values)
    if not 1 <= n <= len(_T) + 1:
        raise AusamError(f"an interval is over 1 to {len(_T) + 1} seeds, found {n}")
    if n == 1:
        return Estimate(values[0], math.inf, 1)
    half = _T[n - 2] * statistics.stdev(values) / math.sqrt(n)
    return Estimate(statistics.mean(values), half, n)


def by_arm(records: Sequence[Record]) -> dict[str, dict[int, Record]]:
    """Records by arm and seed."""
    found: dict[str, dict[int, Record]] = {}
    for record in records:
        found.setdefault(record.arm, {})[record.seed] = record
    return found


def how_many_seeds(arms: Mapping[str, Mapping[int, Record]]) -> str:
    """How many an arm has: the fewest and the most."""
    counts = sorted({len(runs) for runs in arms.values()})
    return " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))


def difference(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> Estimate | None:
    """Paired difference of scores over the seeds that both arms have; None where there are none."""
    common = sorted(ours.keys() & theirs.keys())
    return estimate([ours[s].score - theirs[s].score for s in common]) if common else None
