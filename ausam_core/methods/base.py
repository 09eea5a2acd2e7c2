"""The base optimizer alone: SGD, Adam, whatever it is. The other end of every comparison."""

from __future__ import annotations

from ausam_core.methods.method import Method
from ausam_core.passes import Passes
from ausam_core.step_result import StepResult


class Base(Method):
    """One forward and one backward pass a step: no perturbation.

    Gives a selection the losses before, never after; so it goes with selections that do not need
    the difference.
    """

    perturbs = False

    def gradient(self, passes: Passes) -> StepResult:
        return self.plain_gradient(passes)
