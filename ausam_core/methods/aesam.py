"""AE-SAM: a SAM step where the landscape is sharp, a plain step elsewhere.

Jiang et al., "An Adaptive Policy to Employ Sharpness-Aware Minimization" (ICLR 2023). The squared
gradient norm ``n_t = ‖g_t‖²`` is tracked by ``μ ← δμ + (1−δ)n_t`` and ``σ² ← δσ² + (1−δ)(n_t−μ)²``;
a SAM step is taken where ``n_t ≥ μ + c_t·σ``, with c_t going linearly from λ₂ to λ₁ over the run.

No code of the authors is public. λ₁ = −1 and λ₂ = 1 are secondhand, as is where μ and σ begin
(here: at the first value and at 0). All ranks decide alike: by the norm of the averaged gradient,
or in ``no_sync()`` by the root mean square of their norms.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ausam_core.errors import AusamError
from ausam_core.methods.sam import SAM
from ausam_core.passes import Passes
from ausam_core.step_result import StepResult


class AESAM(SAM):
    """SAM where the gradient is large for its recent past.

    The decision is about code, so it is made on the host: one wait for the device a step.

    Args:
        optimizer, model, rho: see :class:`~ausam_core.SAM`.
        total_steps: number of updates over which c_t moves; by default those of the run, as
            :meth:`begin_run` says, from ``start`` on.
        lambda_1, lambda_2: c_t at the end and at the beginning.
        delta: decay δ of the averages.
        **kwargs: see :class:`~ausam_core.SAM`.
    """

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.05,
        *,
        total_steps: int | None = None,
        lambda_1: float = -1.0,
        lambda_2: float = 1.0,
        delta: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, rho, **kwargs)
        if total_steps is not None and total_steps < 1:
            raise AusamError(
                f"total_steps is the number of updates of the run, found {total_steps}"
            )
        if self.local_first_pass:
            raise AusamError('AE-SAM must decide alike on all ranks; use perturb="global"')
        self.total_steps, self.delta = total_steps, delta
        self.lambda_1, self.lambda_2 = lambda_1, lambda_2
        self.steps, self.sam_steps = 0, 0
        self.mean: float | None = None
        self.variance = 0.0

    def begin_run(self, epochs: int, steps: int) -> None:
        super().begin_run(epochs, steps)
        self.total_steps = self.total_steps or max(1, steps - self.first_update)

    @property
    def one_pass(self) -> bool:
        return True  # may: the gradient of pass 1 decides

    def gradient(self, passes: Passes) -> StepResult:
        first = self.first_pass(passes)
        norm = self.perturbed_norm(passes)
        if self.is_sharp(float(passes.unscaled(norm)) ** 2):
            self.sam_steps += 1
            climb, second, _ = self.second_pass(passes)
            return self.perturbed_result(passes, first, second, climb)
        return self.plain_result(passes, first, norm)

    def is_sharp(self, squared_norm: float) -> bool:
        """Whether to take a SAM step at ``‖g‖²``; counts the step and moves the averages."""
        if self.total_steps is None:
            raise AusamError(
                "AE-SAM moves its threshold over the run, whose length is not known; call "
                "method.begin_run(epochs, steps) before the first step, or give total_steps"
            )
        progress = min(self.steps / self.total_steps, 1.0)
        self.steps += self.accumulated.batches == 0  # batches that are accumulated share a step
        if not math.isfinite(squared_norm):
            return False
        if self.mean is None:
            self.mean = squared_norm
        else:
            self.mean = self.delta * self.mean + (1 - self.delta) * squared_norm
        deviation = (squared_norm - self.mean) ** 2
        self.variance = self.delta * self.variance + (1 - self.delta) * deviation
        c = progress * self.lambda_1 + (1 - progress) * self.lambda_2
        return squared_norm >= self.mean + c * math.sqrt(self.variance)

    def method_state(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "sam_steps": self.sam_steps,
            "mean": self.mean,
            "variance": self.variance,
        }

    def load_method_state(self, state: dict[str, Any]) -> None:
        self.steps, self.sam_steps = state["steps"], state["sam_steps"]
        self.mean, self.variance = state["mean"], state["variance"]
