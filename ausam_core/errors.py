"""The one exception that is meant for the person at the keyboard."""

from __future__ import annotations


class AusamError(ValueError):
    """A mistake in what was asked for, not in the program.

    The message is one sentence that says what was wrong, what was found, and what to do; tools
    print it without a traceback and exit with a non-zero code.
    """
