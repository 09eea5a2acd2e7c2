"""What a study file says, held against what it may say: one sentence where they differ."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from ausam_core.errors import AusamError

_SEEDS = 2**32  # NumPy takes no larger one


def whole(what: str, value: Any, least: int = 0) -> int:
    """A whole number, of any integer type.

    Raises:
        AusamError: for anything else, and below ``least``.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise AusamError(f"{what} must be a whole number of {least} or more, found {value!r}")
    return number


def check_positive(what: str, value: Any) -> None:
    """Refuse what is no finite number above 0."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise AusamError(f"{what} must be a finite number above 0, found {value!r}")


def check_share(what: str, value: Any) -> None:
    """Refuse what is no number in [0, 1)."""
    if not _is_number(value) or not 0 <= value < 1:
        raise AusamError(f"{what} must be a share of the run, in [0, 1), found {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_text(what: str, value: Any) -> None:
    """Refuse what is no string."""
    if not isinstance(value, str):
        raise AusamError(f"{what} must be a string, found {value!r}")


def check_dict(what: str, value: Any, example: str) -> None:
    """Refuse what is no mapping with strings as keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise AusamError(f"{what} must be a dict such as {example}, found {value!r}")


def names_of(what: str, value: Any) -> list[str]:
    """A list of strings; a string alone would be read letter by letter."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise AusamError(f'{what} must be a list of names such as ["sgd"], found {value!r}')
    return list(value)


def seeds_of(what: str, value: Any) -> list[int]:
    """Seeds, each once.

    Raises:
        AusamError: for none, for one that no generator takes, for one that is named twice.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise AusamError(f"{what} must be a list of whole numbers or range(5), found {value!r}")
    seeds = [whole(what, seed) for seed in value]
    if not seeds:
        raise AusamError(f"{what} are none; a run needs one, seeds = range(5) has five")
    if max(seeds) >= _SEEDS:
        raise AusamError(f"{what} must be below 2**32, found {max(seeds)}")
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise AusamError(
            f"{what} name {', '.join(map(str, twice))} more than once, and a seed is run once; "
            "leave the repetition out"
        )
    return seeds
