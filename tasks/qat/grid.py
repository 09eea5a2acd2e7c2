"""The integers that a tensor is rounded to, and the codes of a tensor on them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ausam_core.errors import AusamError

#: The smallest step that is used; a step that trains below it is held here.
MIN_STEP = 1e-8


@dataclass(frozen=True)
class Grid:
    """The integers of ``bits`` bits: ``[-2^(b-1), 2^(b-1) - 1]`` signed, ``[0, 2^b - 1]`` unsigned.

    The zero point is always 0, so that zero padding is exact.

    Args:
        bits: 2 to 8.
        signed: whether there are negative codes.

    Raises:
        AusamError: for other bit widths.
    """

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise AusamError(f"bits must be a whole number from 2 to 8, found {self.bits!r}")

    @property
    def low(self) -> int:
        """``-Qn`` of the LSQ paper."""
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """``Qp`` of the LSQ paper."""
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    @property
    def largest(self) -> int:
        """The largest absolute value of a code."""
        return max(-self.low, self.high)

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}"


def to_codes(values: Tensor, step: Tensor, grid: Grid) -> Tensor:
    """``round(clip(values / step, low, high))``, half to even; floats that hold integers.

    Args:
        values: any shape.
        step: a step for all, shape ``[]``, or one a channel (dimension 0), shape ``[C]``.
        grid: the integers to round to.
    """
    return (values / per_channel(step, values)).clamp_(grid.low, grid.high).round_()


def per_channel(step: Tensor, values: Tensor) -> Tensor:
    """The steps, positive, in a shape that broadcasts over dimension 0 of ``values``."""
    step = step.clamp(min=MIN_STEP)
    return step if step.dim() == 0 else step.view(-1, *[1] * (values.dim() - 1))
