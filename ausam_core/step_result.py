"""What a step leaves behind: where a method meets a selection, and what the step cost."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ausam_core.losses import loss_difference


@dataclass
class StepResult:
    """What a step leaves behind. All tensors are detached and on the device.

    Attributes:
        loss: the loss of pass 1, 0-dim.
        before: the loss of each trained sample at w, ``[N]``, or None; NaN for a sample that only
            pass 2 used.
        after: the loss of each trained sample at w + ε, ``[N]``, or None.
        grad_norm: norm of the gradient of pass 1 over the perturbed parameters, 0-dim, without loss
            scale, or None.
        finite: whether everything in the step was finite, 0-dim bool.
        perturbs: whether the method perturbs the weights, even if not in this step.
        weighted: whether the weights of a planned batch were used.
        error: ``‖softmax − target‖₂`` of each trained sample, ``[N]`` (EL2N), where the pass gave
            class scores with their targets, or None.
    """

    loss: Tensor
    before: Tensor | None
    after: Tensor | None
    grad_norm: Tensor | None
    finite: Tensor
    perturbs: bool = True
    weighted: bool = False
    error: Tensor | None = None

    @property
    def difference(self) -> Tensor | None:
        """``d_i = |ℓ_i(w+ε) − ℓ_i(w)|``, ``[N]`` (AUSAM, Eq. 6), or None."""
        return loss_difference(self.before, self.after)


@dataclass
class Cost:
    """What a run has spent so far, counted in samples.

    Attributes:
        forward: samples that went through a forward pass.
        backward: samples that went through a backward pass.
    """

    forward: int = 0
    backward: int = 0

    @property
    def passes(self) -> float:
        """Sample passes: a forward with its backward pass is 1, a forward pass alone ⅓."""
        return (self.forward + 2 * self.backward) / 3
