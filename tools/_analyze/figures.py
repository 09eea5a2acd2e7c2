"""The pictures of tools/analyze.py, in one style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLOURS = ("#1c7ed6", "#e8590c", "#2b8a3e", "#9c36b5", "#5c6370", "#c2255c")
_TEXT, _MUTED = "#1f2329", "#6b7280"

Line = tuple[Sequence[float], Sequence[float]]
"""Abscissae and ordinates."""


def colours(count: int) -> list[str]:
    """A colour for each of several curves; many are the course of something, from light to dark."""
    if count <= len(_COLOURS):
        return list(_COLOURS[:count])
    return [to_hex(matplotlib.colormaps["viridis_r"](x)) for x in np.linspace(0.08, 1, count)]


def panels(
    count: int, title: str, subtitle: str, size: tuple[float, float] = (5.2, 3.6)
) -> tuple[Figure, list[Axes]]:
    """Axes side by side under a title and a line that says what is shown."""
    figure, axes = plt.subplots(
        1, count, figsize=(size[0] * count, size[1] + 0.8), squeeze=False, layout="constrained"
    )
    figure.suptitle(title, x=0.01, ha="left", size=13, weight="bold", color=_TEXT)
    figure.text(0.01, -0.03, subtitle, ha="left", va="top", size=9, color=_MUTED, wrap=True)
    for one in axes[0]:
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
        one.tick_params(colors=_MUTED)
        one.grid(color="#e5e7eb", lw=0.7)
        one.set_axisbelow(True)
    return figure, list(axes[0])


def draw_lines(axes: Axes, lines: Mapping[str, Line], title: str, x: str, y: str) -> None:
    """Lines with a dot at each point: few points stay visible as points."""
    for (name, (xs, ys)), colour in zip(lines.items(), colours(len(lines)), strict=True):
        axes.plot(xs, ys, marker="o", ms=4, lw=1.8, color=colour, label=name)
    axes.set_title(title, loc="left", size=10.5, color=_TEXT)
    axes.set_xlabel(x, color=_MUTED)
    axes.set_ylabel(y, color=_MUTED)
    if x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=_TEXT, fontsize=9)


def draw_histograms(
    axes: Axes, values: Mapping[str, Sequence[float]], title: str, x: str, log: bool = False
) -> None:
    """Outlines of histograms over common bins."""
    everything = np.concatenate([np.asarray(v, dtype=float) for v in values.values()])
    everything = everything[np.isfinite(everything) & ((everything > 0) | (not log))]
    bins = bin_edges(everything, log)
    for (name, value), colour in zip(values.items(), colours(len(values)), strict=True):
        axes.hist(value, bins=bins, histtype="step", lw=1.8, color=colour, label=name)
    if log:
        axes.set_xscale("log")
    axes.set_title(title, loc="left", size=10.5, color=_TEXT)
    axes.set_xlabel(x, color=_MUTED)
    axes.set_ylabel("samples", color=_MUTED)
    if len(values) > 1:
        axes.legend(frameon=False, labelcolor=_TEXT, fontsize=9)


def bin_edges(values: np.ndarray, log: bool = False) -> np.ndarray:
    """Borders of at most 40 bins; where the values are whole numbers, each bin holds as many of
    them, so that none stays empty between two that are full."""
    low, high = float(values.min()), float(values.max())
    if not log and np.array_equal(values, values.round()):
        width = np.ceil((high - low + 1) / 40)
        return np.arange(low - 0.5, high + 0.5 + width, width)
    high = high if high > low else low + 1
    return np.geomspace(low, high, 41) if log else np.linspace(low, high, 41)


def draw_surfaces(
    axes: Sequence[Axes], grids: Mapping[str, np.ndarray], steps: Sequence[float]
) -> None:
    """Contours of several surfaces on one scale, so that wide and narrow can be compared."""
    low = min(float(grid.min()) for grid in grids.values())
    high = max(float(np.median(grid)) for grid in grids.values())
    levels = np.geomspace(max(low, 1e-6), max(high, low * 1.5, 2e-6), 12)
    for one, (name, grid) in zip(axes, grids.items(), strict=True):
        one.contourf(steps, steps, grid, levels=levels, cmap="viridis_r", extend="both")
        lines = one.contour(steps, steps, grid, levels=levels, colors="white", linewidths=0.6)
        one.clabel(lines, levels[::3], fontsize=7, fmt="%.2f")
        one.plot([0], [0], marker="+", ms=9, mew=1.6, color="black")
        one.set_aspect("equal")
        one.grid(False)
        one.set_title(name, loc="left", size=10.5, color=_TEXT)


def save(figure: Figure, path: Path) -> None:
    """Write the picture."""
    figure.savefig(path, dpi=150, bbox_inches="tight", facecolor="white", pad_inches=0.15)
    plt.close(figure)
