"""The batches since the last update: whether all was finite, and whether all ranks have them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ausam_core import gradients


class Accumulation:
    """What is known of the gradient that waits for its update.

    Attributes:
        batches: how many batches are in it.
        finite: whether they all were, 0-dim bool; None while there is none.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin with the next update."""
        self.batches = 0
        self.finite: Tensor | None = None
        self._owes_average = False

    def add(self, finite: Tensor, averaged: bool) -> None:
        """Count a batch.

        Args:
            finite: whether it was, 0-dim bool.
            averaged: whether its gradient is that of all ranks; not so in ``no_sync()``.
        """
        self.batches += 1
        self.finite = finite if self.finite is None else self.finite & finite
        self._owes_average |= not averaged

    def settle(self, parameters: list[nn.Parameter], process_group: Any, scaled: bool) -> Tensor:
        """Make what was accumulated the gradient of all ranks; whether it is finite, 0-dim bool.

        DDP averages what arises in a backward pass, and these gradients may have arisen in
        ``no_sync()``. One all-reduce an update, and only where something was accumulated.

        Args:
            scaled: whether a loss scaler will look at the gradient, and at nothing else.
        """
        assert self.finite is not None
        if self.batches <= 1 and not self._owes_average:
            return self.finite
        gradients.poison(parameters, self.finite)  # so that all ranks see one rank's bad batch
        gradients.average_over_ranks(parameters, process_group)
        finite = gradients.are_finite(parameters, self.finite)
        if scaled:
            gradients.poison(parameters, finite)
        return finite
