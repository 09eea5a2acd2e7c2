"""Draws `step.svg`: a step of AUSAM in three pictures, and what steps cost. Needs Python alone.

python docs/pictures/step.py
"""

from __future__ import annotations

import random
from pathlib import Path

INK, SOFT, KEPT, UP, DOWN = "#24292f", "#8c959f", "#3f51b5", "#cf5c00", "#1a7f37"
WIDTH, HEIGHT, PANEL = 960, 452, 300
W, RHO, RATE = 0.62, 0.16, 0.052  # the weight, the radius, the learning rate of the drawing


def loss(w: float) -> float:
    """A valley with a sharp and a flat side."""
    return 0.1 + 2.2 * (w - 0.42) ** 2 + 0.9 * max(0.0, w - 0.55) ** 2


def slope(w: float) -> float:
    return 4.4 * (w - 0.42) + 1.8 * max(0.0, w - 0.55)


def text(x: float, y: float, words: str, size: int = 14, colour: str = INK, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" {more}>{words}</text>'


def line(points: list[tuple[float, float]], colour: str, width: float = 2, more: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" {more}/>'
    )


def dot(x: float, y: float, colour: str, radius: float = 5, filled: bool = True) -> str:
    fill = colour if filled else "#ffffff"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" stroke="{colour}" '
        'stroke-width="1.5"/>'
    )


def panel(left: float, number: int, title: str, *lines: str) -> list[str]:
    """A title, and the lines below the drawing."""
    found = [text(left, 36, f"{number}  {title}", 18, INK, 'font-weight="600"')]
    return found + [text(left, 262 + 19 * i, words, 13) for i, words in enumerate(lines)]


def chosen(left: float) -> list[str]:
    """Sixteen samples as large as their scores; eight are kept, the large ones more often."""
    draw = random.Random(3)
    scores = [draw.uniform(3, 14) for _ in range(16)]
    order = sorted(range(16), key=lambda i: draw.random() ** (1 / scores[i] ** 2), reverse=True)
    kept = set(order[:8])
    return [
        dot(left + 40 + 56 * (i % 4), 78 + 44 * (i // 4), KEPT if i in kept else SOFT, s, i in kept)
        for i, s in enumerate(scores)
    ]


def place(left: float, w: float, height: float | None = None) -> tuple[float, float]:
    """Where a weight and its loss lie on the paper."""
    return left + 270 * w, 232 - 190 * (loss(w) if height is None else height)


def valley(left: float) -> list[str]:
    curve = [place(left, i / 100) for i in range(4, 97)]
    return [line(curve, SOFT), dot(*place(left, W), INK), text(*lower(left, W), "w", 15)]


def lower(left: float, w: float) -> tuple[float, float]:
    x, y = place(left, w)
    return x - 4, y + 24


def tangent(left: float, w: float, colour: str) -> str:
    ends = [(w + d, loss(w) + slope(w) * d) for d in (-0.13, 0.11)]
    return line([place(left, a, b) for a, b in ends], colour, 1.5, 'stroke-dasharray="5 4"')


def arrow(left: float, start: float, end: float, height: float, colour: str, name: str) -> str:
    points = [place(left, start, height), place(left, end, height)]
    return line(points, colour, 2.5, f'marker-end="url(#{name})"')


def ascent(left: float) -> list[str]:
    moved = W + RHO
    return [
        *valley(left),
        tangent(left, W, UP),
        arrow(left, W, moved - 0.015, loss(W), UP, "up"),
        dot(*place(left, moved), UP),
        text(place(left, moved)[0] - 62, place(left, moved)[1] - 8, "w + ε", 15, UP),
        text(place(left, W)[0] + 17, place(left, W)[1] + 17, "ρ", 14, UP),
    ]


def descent(left: float) -> list[str]:
    moved = W + RHO
    after = W - RATE * slope(moved) * 2.2
    return [
        *valley(left),
        dot(*place(left, moved), UP, filled=False),
        tangent(left, moved, DOWN),
        arrow(left, W, after + 0.015, loss(W), DOWN, "down"),
        dot(*place(left, after), DOWN),
        text(place(left, after)[0] - 8, place(left, after)[1] + 24, "w′", 15, DOWN),
    ]


def bars(top: float) -> list[str]:
    """What a step spends on a batch of 16: forward and backward passes of samples."""
    rows = [
        ("base optimizer", [(16, DOWN)], "16"),
        ("SAM", [(16, UP), (16, DOWN)], "32"),
        ("AUSAM, α = ½", [(8, UP), (8, DOWN)], "16"),
    ]
    found = []
    for i, (name, parts, total) in enumerate(rows):
        y, x = top + 26 * i, 210.0
        found.append(text(36, y + 13, name, 14))
        for samples, colour in parts:
            size = 15.0 * samples
            found.append(
                f'<rect x="{x:.0f}" y="{y:.0f}" width="{size - 2:.0f}" height="17" rx="2" '
                f'fill="{colour}"/>'
            )
            x += size
        found.append(text(x + 8, y + 13, f"{total} sample passes", 13, SOFT))
    return found


def picture() -> str:
    """The whole drawing."""
    lefts = [36 + i * PANEL + 16 * (i > 0) for i in range(3)]
    one = ("By what earlier epochs showed", "and by chance. What is not kept", "is never loaded.")
    two = ("Pass 1 at w, over the kept samples:", "ε = ρ·g/‖g‖, where the loss rises", "fastest.")
    three = (
        "Pass 2 at w + ε gives the gradient,",
        "taken from w. How much each loss",
        "moved goes into its sample’s score.",
    )
    body = [
        *panel(lefts[0], 1, "Choose", *one),
        *chosen(lefts[0]),
        *panel(lefts[1], 2, "Ascend", *two),
        *ascent(lefts[1]),
        *panel(lefts[2], 3, "Descend", *three),
        *descent(lefts[2]),
        line([(36, 330), (WIDTH - 36, 330)], "#d0d7de", 1),
        *bars(354),
    ]
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" '
        f'markerHeight="5" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
        for name, colour in (("up", UP), ("down", DOWN))
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="Helvetica, Arial, sans-serif" role="img" '
            'aria-label="A step of AUSAM: choose, ascend, descend; and what steps cost">',
            f"<defs>{markers}</defs>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
            *body,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(picture(), encoding="utf-8")
