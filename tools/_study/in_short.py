"""The table that the report begins with: each study in a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from _study.record import Record
from _study.statistics import by_arm, difference, how_many_seeds
from _study.study import Study
from _study.table import mean_of, shown

_HEAD = """\
## In short

| asked | found | seeds | base optimizer on training data | over it, at its cost |
| --- | --- | ---: | ---: | --- |"""
_WHAT = """\
*Base optimizer on training data*: its score there after the last epoch, which tells whether the
network fits what it trains on. The last column is of the arm that the study is about, with its 95 %
interval, bold where that excludes 0."""


def in_short(told: Sequence[tuple[Study, list[Record]]]) -> str:
    """What each study asked and found, how well the base optimizer fits, and what is gained."""
    rows = [_row(study, records) for study, records in told]
    return "\n".join([_HEAD, *rows, "", _WHAT, ""])


def _row(study: Study, records: Sequence[Record]) -> str:
    arms = by_arm(records)
    base = arms.get(study.references[0]) if study.references else None
    fits = f"{mean_of(base, 'training_score'):.0f}" if base else ""
    gain, ours = "", arms.get(study.headline)
    if base and ours:
        of_arm = shown(difference(ours, base), len(base))
        gain = f"{_cell(study.arms[study.headline].label)}: {of_arm}"
    asked = f"[{_cell(study.title)}](#{study.name})"
    return f"| {asked} | {_cell(_answer(study))} | {how_many_seeds(arms)} | {fits} | {gain} |"


def _answer(study: Study) -> str:
    """What ``found`` begins with: its first words in bold, or its first sentence."""
    found = " ".join(study.found.split())
    begins = re.match(r"\*\*(.+?)\*\*|(.+?[.!?])(?=\s|$)", found)
    return (begins[1] or begins[2]) if begins else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
