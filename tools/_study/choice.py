"""How sure the choice of a setting is, from the records that it was made by."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from _counted import counted

from _study.record import Record
from _study.statistics import by_arm, difference
from _study.study import Arm, Study
from _study.table import mean_of, shown

_SAID = {"rho": "ρ", "lr": "rate", "batch_size": "batch"}


def how_sure(study: Study, records: Sequence[Record]) -> str:
    """What was taken, by how much it is above the best other, and what was not looked at.

    A choice may be wrong in ways that its mean does not show: one seed, or a setting beyond which
    nothing was tried. Both are read from the arms and records, so that no text can forget them.

    Args:
        study: the study.
        records: its records.

    Returns:
        A paragraph; empty where nothing was taken, or the arm that was has no record.
    """
    arms = by_arm(records)
    ours = arms.pop(study.takes, None)
    if ours is None:
        return ""
    parts = [f"**Taken: {study.arms[study.takes].label}** ({counted(len(ours), 'seed')})"]
    if arms:
        other = max(arms, key=lambda name: _lead(arms[name], ours))
        gap = shown(difference(ours, arms[other]), len(ours))
        parts.append(f"{gap} over {study.arms[other].label}, the best of the others")
    tried = [study.arms[study.takes], *(study.arms[name] for name in arms)]
    parts += [f"{edge} that was tried" for edge in _edges(tried)]
    return "; ".join(parts) + "."


def _lead(theirs: Mapping[int, Record], ours: Mapping[int, Record]) -> float:
    """By how much an arm is above ours, over the seeds of both where there are any."""
    paired = difference(theirs, ours)
    return paired.mean if paired else mean_of(theirs, "score") - mean_of(ours, "score")


def _edges(arms: Sequence[Arm]) -> list[str]:
    """Which numbers of the first arm are the largest or the smallest of all."""
    found = []
    numbers_of = [_numbers(arm.settings) for arm in arms]
    for name, ours in numbers_of[0].items():
        values = {other[name] for other in numbers_of if name in other}
        if len(values) > 1 and ours in (min(values), max(values)):
            which = "largest" if ours == max(values) else "smallest"
            found.append(f"the {which} {_SAID.get(name, name)}")
    return found


def _numbers(settings: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of an arm's settings, by the last part of their name."""
    found: dict[str, float] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _numbers(value)
        elif isinstance(value, numbers.Real) and not isinstance(value, bool):
            found[name.rpartition(".")[2]] = float(value)
    return found
