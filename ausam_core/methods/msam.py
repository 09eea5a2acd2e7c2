"""Momentum-SAM: climb along the momentum, which costs no pass.

Becker et al., "Momentum-SAM: Sharpness Aware Minimization without Computational Overhead" (2024):
``ε = ρ·m/‖m‖₂`` with the optimizer's momentum m (a mean of gradients, so +m is uphill), then
``w ← base(w, ∇L(w+ε))``. The first step of a run has no momentum and is the base optimizer's. The
weights come back from a copy within the step, so that evaluation, averages and checkpoints see w.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.methods.method import Method
from ausam_core.passes import Passes
from ausam_core.perturbation import Exclude, Perturbation
from ausam_core.step_result import StepResult
from ausam_core.wrappers import inner_optimizers, shards_its_state

# Where torch's optimizers keep a running mean of the gradient.
_MOMENTUM = ("momentum_buffer", "exp_avg")


class MSAM(Method):
    """SAM along the momentum: one pass a step.

    Only the loss at w + ε is computed, so a selection that learns from differences has nothing to
    learn. Running statistics follow the one pass. Memory: a copy of the weights, and the direction
    within a step.

    Args:
        optimizer: one with momentum: SGD(momentum=…), Adam, AdamW, ….
        model: see :class:`~ausam_core.Method`.
        rho: radius ρ; the momentum is a poorer guide than the gradient, so the best ρ is larger
            than SAM's.
        exclude: see :class:`~ausam_core.SAM`.
        **kwargs: see :class:`~ausam_core.Method`.

    Raises:
        AusamError: after the first update, for an optimizer without momentum; at once for one that
            shards it over the ranks (ZeRO).
    """

    perturbs = False

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.3,
        *,
        exclude: Exclude | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, **kwargs)
        if shards_its_state(optimizer):
            raise AusamError(
                f"{type(optimizer).__name__} keeps the momentum of a part of the parameters on "
                "each rank, so ranks would climb apart; use an optimizer that is not sharded, or "
                "SAM, which climbs by the gradient"
            )
        self.perturbation = Perturbation(optimizer, rho, model=model, exclude=exclude)

    def prepare(self) -> None:
        """Climb; the pass that follows is at w + ε."""
        self.perturbation.climb_by(self._momentum())

    def abandon(self) -> None:
        self.perturbation.restore()

    def gradient(self, passes: Passes) -> StepResult:
        try:
            return self.plain_gradient(passes)
        finally:
            self.perturbation.restore()

    @torch.no_grad()
    def _momentum(self) -> dict[nn.Parameter, Tensor]:
        """A copy of each parameter's momentum; empty before the first update."""
        found: dict[nn.Parameter, Tensor] = {}
        states = [inner.state for inner in inner_optimizers(self.optimizer)]
        for parameter in self.parameters():
            for state in states:
                entry = state.get(parameter, {})
                momentum = next((entry[k] for k in _MOMENTUM if entry.get(k) is not None), None)
                if momentum is not None:
                    found[parameter] = momentum.to(parameter.dtype, copy=True)
        if not found and self.skipping.has_updated:
            raise AusamError(
                f"MSAM climbs along the momentum, and {type(self.optimizer).__name__} keeps none "
                "(momentum_buffer or exp_avg); use SGD with momentum, Adam or AdamW"
            )
        return found
