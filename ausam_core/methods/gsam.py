"""GSAM: also shrink the gap between the loss and its worst neighbour.

Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training" (ICLR 2022), Alg. 1:
the part of g that is orthogonal to g_p is ascended, ``u = g_p − α·g_⊥``.

Differences from the author's PyTorch port: foreach operators; the decomposition uses the true
gradient also when the perturbation is adaptive (there its norm ignores ``adaptive``); gradients are
averaged by DDP's buckets before the decomposition, but in ``no_sync()`` (there: each rank its own,
one all-reduce for every tensor); ρ follows the learning rate without a scheduler to be stepped by
hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.methods.directions import Directions, cosine_of_unit_vectors, norm_of
from ausam_core.methods.sam import SAM
from ausam_core.passes import Passes
from ausam_core.ranks import local
from ausam_core.step_result import StepResult


class GSAM(SAM):
    """SAM plus a step that closes the surrogate gap. α = 0 is SAM.

    Memory: one more copy of the gradient than SAM.

    Args:
        optimizer, model: see :class:`~ausam_core.SAM`.
        rho: largest radius ρ_max, at the largest learning rate.
        alpha: strength α of the ascent along g_⊥; 0.4 in the author's code on CIFAR.
        rho_min: radius at learning rate 0, ``ρ = ρ_min + (ρ_max−ρ_min)·lr/lr_max``; by default ρ
            does not change. A parameter group's own ``rho`` shrinks by the same factor.
        **kwargs: see :class:`~ausam_core.SAM`.
    """

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.05,
        alpha: float = 0.4,
        rho_min: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, rho, **kwargs)
        if self.local_first_pass:
            raise AusamError('GSAM works with the averaged gradient; use perturb="global"')
        if rho_min is not None and not 0 <= rho_min <= rho:
            raise AusamError(f"rho_min must be in [0, rho], found {rho_min} with rho={rho}")
        self.alpha, self.rho_max, self.rho_min = alpha, rho, rho if rho_min is None else rho_min
        self._lr_max = 0.0
        self._share_of_radius()  # sees the learning rate that the optimizer was built with

    def gradient(self, passes: Passes) -> StepResult:
        self.perturbation.scale = self._share_of_radius()
        first = self.first_pass(passes)
        adaptive = self._copy_gradients() if self.perturbation.adaptive else None
        climb, second, direction = self.second_pass(passes, keep_direction=True)
        result = self.perturbed_result(passes, first, second, climb)
        if self.alpha:
            self._close_gap(direction if adaptive is None else adaptive, climb.norm)
        return result

    def method_state(self) -> dict[str, Any]:
        return {"lr_max": self._lr_max}

    def load_method_state(self, state: dict[str, Any]) -> None:
        self._lr_max = state["lr_max"]

    def _share_of_radius(self) -> float:
        """ρ/ρ_max. The largest learning rate is what the schedulers name, or what was seen."""
        if self.rho_min == self.rho_max:
            return 1.0
        groups = self.optimizer.param_groups
        named = [float(g.get(key, 0.0)) for g in groups for key in ("max_lr", "initial_lr", "lr")]
        self._lr_max = max(self._lr_max, *named)
        if self._lr_max == 0:  # nothing moves yet
            return 1.0
        lr = max(float(group["lr"]) for group in groups)
        rho = self.rho_min + (self.rho_max - self.rho_min) * lr / self._lr_max
        return rho / self.rho_max

    def _copy_gradients(self) -> Directions:
        found = ((p, p.grad) for p in self.perturbation.parameters())
        return {p: local(g).clone() for p, g in found if g is not None}

    @torch.no_grad()
    def _close_gap(self, first: Directions, norm: Tensor) -> None:
        """``g_p ← g_p − α·(g − cos·‖g‖·g_p/‖g_p‖)``; ``first`` is g/‖g‖, or g where adaptive."""
        perturbed = {p: g for p, g in self.local_gradients() if p in first}
        if not perturbed:
            return
        along, found = [first[p] for p in perturbed], list(perturbed.values())
        if self.perturbation.adaptive:
            norm = norm_of({p: first[p] for p in perturbed})
            torch._foreach_div_(along, norm + 1e-12)
        norm_p = norm_of(perturbed) + 1e-12
        unit = dict(zip(perturbed, torch._foreach_div(found, norm_p), strict=True))
        cosine = cosine_of_unit_vectors(first, unit)
        torch._foreach_mul_(found, 1 + self.alpha * norm * cosine / norm_p)
        torch._foreach_mul_(along, -self.alpha * norm)
        torch._foreach_add_(found, along)
