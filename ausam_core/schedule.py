"""When in a run a method and a selection begin: the third axis, beside how and which."""

from __future__ import annotations

import math

from ausam_core.batch import Batch
from ausam_core.errors import AusamError, as_number


def check_start(start: float) -> float:
    """Return the share of the run that is left to the base optimizer, or refuse it outside
    [0, 1)."""
    if not 0 <= as_number("start", start) < 1:
        raise AusamError(f"start is a share of the run, in [0, 1); found {start}")
    return float(start)


def first_epoch(start: float, epochs: int) -> int:
    """The epoch with which a share ``start`` of the run is over; the last one at the latest.

    A whole number, because the batches of an epoch are planned together; 1e-9 keeps 0.7 of 10
    from becoming 8. A run of a single epoch ends before it.
    """
    return min(math.ceil(start * epochs - 1e-9), max(epochs - 1, 1))


class Start:
    """Whether the base optimizer still trains alone.

    Args:
        share: of the run, in [0, 1), that is left to it.

    Attributes:
        first_update: how many updates it makes alone, if the run makes as many as it said; None
            until the length of the run is known.
    """

    def __init__(self, share: float) -> None:
        self.share = check_start(share)
        self.first_update: int | None = 0 if share == 0 else None
        self._first_epoch: int | None = 0
        self._epoch: int | None = None  # of the present batch, where its plan tells

    def begin_run(self, epochs: int, steps: int) -> None:
        """Learn how many epochs, and updates in all of them, the run has."""
        if epochs < 1 or steps < 1:
            raise AusamError(f"a run has an epoch and a step at least, found {epochs}, {steps}")
        if epochs == 1:  # no selection can begin within it; the method alone can
            self._first_epoch = None
            self.first_update = min(math.ceil(self.share * steps - 1e-9), steps - 1)
            return
        # A whole number of epochs, because a selection's epoch begins with the same share.
        self._first_epoch = first_epoch(self.share, epochs)
        self.first_update = math.ceil(self._first_epoch * steps / epochs - 1e-9)

    def meet(self, batch: Batch | None) -> None:
        """Learn which batch comes next, as it was planned."""
        self._epoch = None if batch is None else batch.epoch

    def is_ahead(self, updates: int) -> bool:
        """Whether it is still to come, after so many updates.

        Raises:
            AusamError: if the length of the run is not known.
        """
        if self.first_update is None:
            raise AusamError(
                f"start={self.share:g} is a share of the run, whose length is not known; call "
                "method.begin_run(epochs, steps) before the first step"
            )
        if self._epoch is not None and self._first_epoch is not None:
            # Surer than a count: batches may be skipped, and InfoBatch makes fewer of them.
            return self._epoch < self._first_epoch
        return updates < self.first_update
