"""The frontier: what each arm reaches at its cost, as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _counted import counted
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D

from _study.record import Record, read_records
from _study.spent import costs
from _study.statistics import by_arm, difference, estimate, how_many_seeds
from _study.study import Arm, Study
from _study.table import ordered
from ausam_core.errors import AusamError

_KINDS = {
    "base optimizer": "#5c6370",
    "sharpness-aware all the way": "#1c7ed6",
    "sharpness-aware late in the run": "#e8590c",
}
# Over two common seeds an interval is twelve times their spread: it would say nothing and rule the
# scale.
_BARS_FROM = 3
_TEXT, _MUTED, _BAND = "#1f2329", "#6b7280", "#f4f5f7"

Runs = Mapping[int, Record]


def draw_frontier(study: Study, out: Path | None = None) -> Path:
    """Draw the scores of all arms in bands of equal cost.

    A row shows an arm: each seed as a faint dot, the mean, and the 95 % interval of its difference
    to the first reference, paired by seed.

    Args:
        study: the study.
        out: the picture; by default ``frontier.png`` beside the records.

    Returns:
        Where it is.

    Raises:
        AusamError: where there are no records, or some that do not belong, and where the picture
            cannot be written.
    """
    out = out or study.folder / "frontier.png"
    _check_kind(out)
    records = read_records(study)
    if not records:
        raise AusamError(
            f"{study.folder} holds no records yet; `python tools/study.py run {study.path}` makes "
            "them"
        )
    found = by_arm(records)
    all_arms = len(found)
    if study.drawn:  # the rest is in the table
        found = {name: runs for name, runs in found.items() if name in study.drawn} or found
    base = next((name for name in study.references if name in found), None)
    cost = costs(study, found)
    names = ordered(cost, found)
    figure, axes = plt.subplots(figsize=(9.6, 1.9 + 0.34 * (len(names) + len({*cost.values()}))))
    heights = _heights(cost, names)
    for name in names:
        _row(axes, heights[name], study.arms[name], found[name], base and found[base])
    _decorate(axes, study, cost, heights, found, base, of=all_arms)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=160, bbox_inches="tight", facecolor="white")
    except OSError as error:
        raise AusamError(f"the picture {out} cannot be written: {error}; name another") from error
    finally:
        plt.close(figure)
    return out


def _check_kind(out: Path) -> None:
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if out.suffix.lower().lstrip(".") not in kinds:
        raise AusamError(
            f"the picture {out} is of no kind that can be drawn; end its name in .png, .svg or .pdf"
        )


def _kind(arm: Arm) -> str:
    if arm.method["type"] == "Base":
        return "base optimizer"
    return f"sharpness-aware {'late in the run' if arm.start else 'all the way'}"


def _mean(runs: Runs) -> float:
    return statistics.mean(record.score for record in runs.values())


def _heights(cost: Mapping[str, float], names: list[str]) -> dict[str, float]:
    """Where each row is, with a row between two bands for the title of the band."""
    heights, y, last = {}, 0.0, None
    for name in names:
        if cost[name] != last:
            last, y = cost[name], y - 1
        heights[name] = y
        y -= 1
    return heights


def _row(axes: Axes, y: float, arm: Arm, runs: Runs, base: Runs | None) -> None:
    colour = _KINDS[_kind(arm)]
    scores = [record.score for record in runs.values()]
    mean, found = _mean(runs), None
    if base is None:
        found = estimate(scores)
    elif base is not runs:
        found = difference(runs, base)
    if found is not None and found.n >= _BARS_FROM:
        half = found.half
        axes.plot([mean - half, mean + half], [y, y], color=colour, lw=2.2, alpha=0.55, zorder=2)
    axes.scatter(scores, [y] * len(scores), s=13, color=colour, alpha=0.35, lw=0, zorder=3)
    axes.scatter([mean], [y], s=58, color=colour, edgecolor="white", lw=1.1, zorder=4)
    axes.text(
        1.01, y, f"{mean:.1f}", transform=axes.get_yaxis_transform(), va="center", color=_TEXT
    )


def _decorate(
    axes: Axes,
    study: Study,
    cost: Mapping[str, float],
    heights: Mapping[str, float],
    found: Mapping[str, Runs],
    base: str | None,
    of: int,
) -> None:
    labels = [study.arms[name].label for name in heights]
    axes.set_yticks(list(heights.values()), labels, color=_TEXT)
    axes.tick_params(axis="both", length=0, labelcolor=_TEXT)
    axes.set_ylim(min(heights.values()) - 0.7, 0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color="#dfe2e6", lw=0.7)
    axes.set_axisbelow(True)
    for times in sorted({*cost.values()}):
        _band(axes, times, [heights[name] for name in heights if cost[name] == times])
    # What SGD reaches, and what SAM reaches where it may cost more.
    lines = [n for n in study.references if n in found and (n == base or cost[n] != 1)]
    lines.sort(key=lambda name: _mean(found[name]))
    for name, side in zip(
        lines, ("center",) if len(lines) == 1 else ("right", "left"), strict=False
    ):
        _line(axes, study.arms[name], cost[name], _mean(found[name]), side)
    axes.set_title(study.title, loc="left", color=_TEXT, size=13, weight="bold", pad=36)
    reference = f"difference to {study.arms[base].label}, paired by seed" if base else "mean"
    metric = _METRICS.get(study.metric, study.metric)
    bars = f"bars (three or more): 95 % interval of the {reference}"
    if len(found) < of:
        bars += f"; {len(found)} of {of} arms"
    axes.annotate(
        f"{metric}; small dots: {counted(how_many_seeds(found), 'seed')}; {bars}",
        (0, 1),
        (0, 20),
        xycoords="axes fraction",
        textcoords="offset points",
        color=_MUTED,
        size=9.5,
    )
    used = {_kind(study.arms[name]) for name in heights}
    handles = [
        Line2D([], [], marker="o", ls="", color=colour, label=kind)
        for kind, colour in _KINDS.items()
        if kind in used
    ]
    style = dict(ncols=3, frameon=False, labelcolor=_TEXT, handletextpad=0.2, borderpad=0)
    axes.figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.06), **style)


def _band(axes: Axes, times: float, rows: list[float]) -> None:
    """The ground of the rows that cost the same, and its title."""
    axes.axhspan(min(rows) - 0.5, max(rows) + 0.5, color=_BAND, zorder=0, lw=0)
    title = "at equal cost" if times == 1 else f"at {times:g} times the cost"
    style = dict(color=_MUTED, size=9.5, style="italic", va="center")
    white = dict(facecolor="white", lw=0, pad=1.5)  # where a line of a reference passes
    where = axes.get_yaxis_transform()
    axes.text(0, max(rows) + 0.78, title, transform=where, bbox=white, **style)


def _line(axes: Axes, arm: Arm, cost: float, mean: float, side: str) -> None:
    """What an arm reaches, through all rows; its name stands on one side of the line."""
    colour = _KINDS[_kind(arm)]
    axes.axvline(mean, color=colour, lw=1, ls=(0, (4, 3)), zorder=1)
    label = arm.label if cost == 1 else f"{arm.label} (cost × {cost:g})"
    # Above the rows, where no title of a band is.
    axes.annotate(
        label,
        (mean, 1),
        (0, 2),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        color=colour,
        size=8.5,
        ha=side,
        va="bottom",
    )


_METRICS = {"accuracy/top1": "top-1 accuracy, %", "PCK": "PCKh@0.5, %"}
