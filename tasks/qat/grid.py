"""The integers that a tensor is rounded to."""

from __future__ import annotations

from dataclasses import dataclass

from ausam_core.errors import AusamError


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
        whole = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        if not whole or not 2 <= self.bits <= 8:
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
