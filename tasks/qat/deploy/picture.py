"""A picture of a report: how codes are used, what is lost, and where the bytes are."""

from __future__ import annotations

from pathlib import Path

from tasks.qat.deploy.report import LayerReport


def draw(layers: list[LayerReport], path: str | Path) -> None:
    """Draw a report.

    Args:
        layers: of :func:`tasks.qat.deploy.report.layer_reports`.
        path: where to; its ending names the format (png, pdf, svg).
    """
    from matplotlib.figure import Figure

    names = [layer.name for layer in layers]
    rows = range(len(layers))
    figure = Figure(figsize=(13, 1.6 + 0.28 * len(layers)), layout="constrained")
    codes, noise, size = figure.subplots(1, 3, sharey=True, width_ratios=(2, 1, 1))
    narrow = [layer for layer in layers if len(layer.histogram) <= 8]
    for at, layer in enumerate(layers):
        left = 0.0
        values = layer.histogram if layer in narrow else {}
        for i, (code, share) in enumerate(values.items()):
            color = str(0.25 + 0.6 * i / max(1, len(values) - 1))
            codes.barh(at, share, left=left, color=color, edgecolor="white")
            if share > 0.06:
                ink = "white" if i < len(values) / 2 else "black"
                codes.text(left + share / 2, at, code, ha="center", va="center", color=ink, size=7)
            left += share
        if not values:
            codes.text(0.5, at, f"{len(layer.histogram)} codes", ha="center", va="center", size=7)
    codes.set(yticks=list(rows), yticklabels=names, xlim=(0, 1), title="share of each code")
    noise.barh(rows, [min(layer.sqnr, 60) for layer in layers], color="#4477aa")
    noise.set(title="signal to quantization noise, dB")
    size.barh(rows, [layer.bytes / 1000 for layer in layers], color="#228833")
    size.set(title="packed size, kB", xscale="log")
    codes.invert_yaxis()
    figure.savefig(path, dpi=120)
