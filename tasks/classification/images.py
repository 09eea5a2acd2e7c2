"""A data set in memory."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Attributes:
        pixels: ``[n, H, W, 3]``, uint8.
        labels: ``[n]``, int64, in [0, number of classes).
        classes: their names.
        wrong: ``[n]``, bool: labels that were made wrong on purpose; None where none was.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    wrong: Tensor | None = None
