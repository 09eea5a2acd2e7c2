"""Random numbers that are a function of (seed, epoch, index, stream), for whole batches.

A generator gives its numbers in the order in which it is asked, so what a sample gets depends on
which samples are asked before it. A hash does not: a sample is augmented alike whatever else is in
its batch, on the CPU and on CUDA. The mixing function is SplitMix64's (Steele, Lea, Flood, 2014).
"""

from __future__ import annotations

from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """The int64 with the bits of a number modulo 2⁶⁴: torch has no arithmetic on uint64."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; ``>>`` of int64 copies the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shift(x, 27)) * _signed(_MIX_2)
    return x ^ _shift(x, 31)


def random_integers(high: int, seed: int, epoch: int, index: Tensor, stream: int) -> Tensor:
    """One uniform integer in [0, high) for each sample.

    Args:
        high: exclusive bound, far below 2⁵³ (the bias of the remainder is then nothing).
        seed, epoch: key of the run and the epoch.
        index: ``[K]``, int64, numbers of the samples.
        stream: which of several independent numbers of a sample.

    Returns:
        ``[K]``, int64, on the device of ``index``.
    """
    key = _signed(seed * _MIX_1 + epoch * _MIX_2 + stream * _GOLDEN)
    mixed = _mix(_mix(index * _signed(_GOLDEN) + key) + key)
    return _shift(mixed, 11) % high
