"""The base optimizer alone: SGD, Adam, whatever it is. The other end of every comparison."""

from __future__ import annotations

from ausam_core.methods.method import Method, StepResult
from ausam_core.passes import Passes


class Base(Method):
    """One forward and one backward pass a step: no perturbation.

    Gives a selection the losses before, never after; so it goes with selections that do not need
    the difference.
    """

    perturbs = False

    def gradient(self, passes: Passes) -> StepResult:
        first = passes.forward()
        passes.backward(first)
        finite = self.finite_gradient(first.total)
        return self.result(passes, first, None, None, finite)
