"""How far a study is, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from _study.record import Record


@dataclass
class Progress:
    """What has been made of what was asked for.

    Attributes:
        total: runs that are asked for.
        planned: sample passes of each run that is still missing, by arm and seed.
        workers: how many runs are made at a time.
        done: records that there are.
        now: clock, in seconds.
    """

    total: int
    planned: dict[tuple[str, int], float]
    workers: int
    done: list[Record] = field(default_factory=list)
    now: Callable[[], float] = time.monotonic
    _begun: dict[tuple[str, int], float] = field(default_factory=dict)

    def begin(self, arm: str, seed: int) -> None:
        """A run has started."""
        self._begun[arm, seed] = self.now()

    def drop(self, arm: str, seed: int) -> None:
        """A run is not waited for any more: it has ended, with a record or without."""
        self.planned.pop((arm, seed), None)

    def line(self, record: Record) -> str:
        """What is printed when a run has ended."""
        self.done.append(record)
        self.drop(record.arm, record.seed)
        return (
            f"{len(self.done)}/{self.total}  {record.arm} seed {record.seed}: {record.score:.2f}, "
            f"{record.epochs} epochs, {record.seconds:.0f} s; {self.remaining()}"
        )

    def remaining(self) -> str:
        """Time to the end, by what a pass took so far; what a run has behind it is taken off."""
        if not self.planned:
            return "done"
        if not self.done:
            return "time to the end not known yet"
        a_pass = sum(r.seconds for r in self.done) / sum(r.passes for r in self.done)
        left = [max(0.0, a_pass * passes - self._age(run)) for run, passes in self.planned.items()]
        # The runs share the workers, but a single run cannot be shared.
        minutes = max(sum(left) / self.workers, max(left)) / 60
        if minutes < 1:
            return "under a minute to go"
        return f"about {minutes / 60:.1f} h to go" if minutes > 90 else f"{minutes:.0f} min to go"

    def _age(self, run: tuple[str, int]) -> float:
        return self.now() - self._begun[run] if run in self._begun else 0.0
