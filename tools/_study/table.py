"""A study's records as a Markdown table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from _study.record import Record, read_records
from _study.spent import costs
from _study.statistics import Estimate, by_arm, difference
from _study.study import Study
from ausam_core.errors import AusamError


def table(study: Study) -> str:
    """One line an arm, cheapest first and among equals the best first.

    Differences are paired by seed, with a 95 % t interval; bold where it excludes 0. Where an arm
    spent something else than its budget, its passes say so.

    Raises:
        AusamError: where there are no records, or some that do not belong.
    """
    found = by_arm(read_records(study))
    if not found:
        raise AusamError(
            f"{study.folder} holds no records yet; `python tools/study.py run {study.path}` makes "
            "them"
        )
    references = [name for name in study.references if name in found]
    noisy = any(record.more for runs in found.values() for record in runs.values())
    heads = ["arm", "passes", "epochs", "seeds", "score"]
    heads += [f"− {study.arms[name].label}" for name in references]
    heads += ["on training data", "training loss", "sharpness"]
    heads += ["wrong labels chosen"] if noisy else []
    decimals = {what: _decimals(found, what) for what in ("training_loss", "sharpness")}
    lines = [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)])]
    cost = costs(study, found)
    for name in ordered(cost, found):
        runs, times = found[name], study.arms[name].times
        passes = f"{mean_of(runs, 'passes') / study.budget:.2f}"
        cells = [
            study.arms[name].label,
            passes if cost[name] == times else f"**{cost[name]:g}, not {times:g}**",
        ]
        cells += [f"{mean_of(runs, 'epochs'):.0f}", str(len(runs)), _spread(runs)]
        for reference in references:
            same = reference == name
            cells.append("" if same else shown(difference(runs, found[reference]), len(runs)))
        cells.append(f"{mean_of(runs, 'training_score'):.1f}")
        for what, places in decimals.items():
            cells.append(f"{mean_of(runs, what):.{places}f}")
        if noisy:
            wrong = [r.more["wrong_labels_chosen"] for r in runs.values() if r.more]
            cells.append(f"{statistics.mean(wrong):.1f} %" if wrong else "")
        lines.append(_line(cells))
    return "\n".join(lines)


def ordered(cost: Mapping[str, float], found: Mapping[str, Mapping[int, Record]]) -> list[str]:
    """Arms by what they cost, and the best of those that cost the same first."""
    return sorted(found, key=lambda name: (cost[name], -mean_of(found[name], "score")))


def mean_of(runs: Mapping[int, Record], what: str) -> float:
    """Mean over the seeds of an attribute of their records."""
    return statistics.mean(getattr(record, what) for record in runs.values())


def _decimals(found: Mapping[str, Mapping[int, Record]], what: str) -> int:
    """Places that show three digits of the largest mean: losses of tasks differ by thousands."""
    largest = max(abs(mean_of(runs, what)) for runs in found.values())
    return max(3, 2 - math.floor(math.log10(largest))) if 0 < largest < math.inf else 3


def _spread(runs: Mapping[int, Record]) -> str:
    scores = [record.score for record in runs.values()]
    spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.2f}{spread}"


def shown(found: Estimate | None, runs: int) -> str:
    """A difference as a cell: bold where its interval excludes 0, with the number of its seeds
    where that is not ``runs``."""
    if found is None:
        return "–"
    mean = round(found.mean, 2) + 0.0  # no "−0.00"
    text = f"{mean:+.2f}".replace("-", "−")
    if found.n > 1:
        text += f" ± {found.half:.2f}"
    if found.n != runs:
        text += f" (n = {found.n})"
    return f"**{text}**" if found.excludes_zero else text


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
