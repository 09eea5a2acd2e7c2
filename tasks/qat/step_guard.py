"""Keeps an update from throwing a step across zero.

LSQ scales the gradient of a step for the step that LSQ starts with. The step of least squared error
is smaller, at 8 bits six times, and the same update is then six times larger in proportion: on a
layer with few weights a channel some steps became negative within the first ten updates, and a
negative step is no quantizer. So no update changes a step by more than a tenth. At 2 bits, where
both starts are alike, that limit is hardly ever met.

And no step falls below a floor. The loss may want a channel to vanish: its step then shrinks by a
tenth in every update (seen in a depthwise convolution of 2 bits). At the floor the channel gives
next to nothing and can still come back; that must not end a run.
"""

from __future__ import annotations

import torch

from tasks.qat.network import QuantizedNetwork

LARGEST_CHANGE = 0.1
"""The largest change of a step in one update, as a share of it."""
LEAST_STEP = 1e-6
"""The floor; well above what a checkpoint is refused for."""


class StepGuard:
    """Limits the relative change of every step in an update.

    Args:
        network: with its steps as they are before the first update.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        self._steps = [step.detach() for step in network.steps().values()]
        self._before = [step.clone() for step in self._steps]

    @torch.no_grad()
    def limit(self) -> None:
        """Call it after each update. Steps that are NaN stay so, to be found."""
        torch._foreach_maximum_(self._steps, torch._foreach_mul(self._before, 1 - LARGEST_CHANGE))
        torch._foreach_minimum_(self._steps, torch._foreach_mul(self._before, 1 + LARGEST_CHANGE))
        torch._foreach_clamp_min_(self._steps, LEAST_STEP)
        torch._foreach_copy_(self._before, self._steps)
