"""The one exception that is meant for the person at the keyboard."""

from __future__ import annotations

from typing import Any


class AusamError(ValueError):
    """A mistake in what was asked for, not in the program.

    The message is one sentence that says what was wrong, what was found, and what to do; tools
    print it without a traceback and exit with a non-zero code.
    """


def as_number(name: str, value: Any) -> float:
    """A setting as a number.

    Raises:
        AusamError: where it is something else, as a mistyped word on a command line is.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise AusamError(f"{name} must be a number, found {value!r}")
    return float(value)
