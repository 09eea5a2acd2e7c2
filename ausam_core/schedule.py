"""When in a run a method and a selection begin: the third axis, beside how and which."""

from __future__ import annotations

import math

from ausam_core.errors import AusamError, as_number


def check_start(start: float) -> float:
    """Return the share of the run that is left to the base optimizer, or refuse it outside
    [0, 1)."""
    if not 0 <= as_number("start", start) < 1:
        raise AusamError(f"start is a share of the run, in [0, 1); found {start}")
    return float(start)


def first_epoch(start: float, epochs: int) -> int:
    """The epoch with which a share ``start`` of the run is over.

    A whole number, because the batches of an epoch are planned together; 1e-9 keeps 0.7 of 10
    from becoming 8.
    """
    return math.ceil(start * epochs - 1e-9)
