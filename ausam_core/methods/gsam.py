"""GSAM: also shrink the gap between the loss and its worst neighbour.

Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training" (ICLR 2022), Alg. 1:
the part of g that is orthogonal to g_p is ascended, ``u = g_p − α·g_⊥``.

Differences from the author's PyTorch port: foreach operators; the decomposition uses the true
gradient also when the perturbation is adaptive (there its norm ignores ``adaptive``); gradients are
averaged by DDP's buckets before the decomposition (there: each rank its own, one all-reduce for
every tensor); ρ follows the learning rate without a scheduler to be stepped by hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ausam_core.errors import AusamError
from ausam_core.methods.method import StepResult
from ausam_core.methods.sam import SAM, Gradients
from ausam_core.passes import Passes
from ausam_core.perturbation import global_norm


class GSAM(SAM):
    """SAM plus a step that closes the surrogate gap. α = 0 is SAM.

    Memory: one more copy of the gradient than SAM.

    Args:
        optimizer, model: see :class:`~ausam_core.SAM`.
        rho: largest radius ρ_max, at the largest learning rate.
        alpha: strength α of the ascent along g_⊥; 0.4 in the author's code on CIFAR.
        rho_min: radius at learning rate 0, ``ρ = ρ_min + (ρ_max−ρ_min)·lr/lr_max``; by default ρ
            does not change.
        **kwargs: see :class:`~ausam_core.SAM`.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
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
        self._lr_max = max(float(g.get("initial_lr", g["lr"])) for g in optimizer.param_groups)

    def gradient(self, passes: Passes) -> StepResult:
        self.perturbation.rho = self._radius()
        accumulated = self.take_gradients()
        first = self.first_pass(passes, accumulated)
        adaptive = self._copy_gradients() if self.perturbation.adaptive else None
        climb, second, direction = self.second_pass(passes, [], keep_direction=True)
        result = self.perturbed_result(passes, first, second, climb)
        if self.alpha:
            self._close_gap(direction if adaptive is None else adaptive, climb.norm)
        return self.finish(passes, result, accumulated)

    def _radius(self) -> float:
        if self.rho_min == self.rho_max:
            return self.rho_max
        lr = max(float(group["lr"]) for group in self.optimizer.param_groups)
        return self.rho_min + (self.rho_max - self.rho_min) * min(lr / self._lr_max, 1.0)

    def _copy_gradients(self) -> Gradients:
        return [(p, p.grad.clone()) for p in self.perturbation.parameters()]

    @torch.no_grad()
    def _close_gap(self, first: Gradients, norm: torch.Tensor) -> None:
        """``g_p ← g_p − α·(g − cos·‖g‖·g_p/‖g_p‖)``; ``first`` is g/‖g‖, or g where adaptive."""
        pairs = [(g, p.grad) for p, g in first if p.grad is not None]
        if not pairs:
            return
        g, perturbed = [g for g, _ in pairs], [grad for _, grad in pairs]
        if self.perturbation.adaptive:
            norm = global_norm(g)
            torch._foreach_div_(g, norm + 1e-12)
        norm_p = global_norm(perturbed) + 1e-12
        cosine = cosine_of_unit_vectors(g, torch._foreach_div(perturbed, norm_p))
        torch._foreach_mul_(perturbed, 1 + self.alpha * norm * cosine / norm_p)
        torch._foreach_mul_(g, -self.alpha * norm)
        torch._foreach_add_(perturbed, g)


def cosine_of_unit_vectors(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    """``⟨a, b⟩ = 1 − ½‖a−b‖²`` of unit vectors given in pieces, fp32, 0-dim; consumes ``b``.

    There is a foreach norm and no foreach inner product; for unit vectors this is as exact.
    """
    torch._foreach_sub_(b, a)
    return 1 - 0.5 * global_norm(b).square()
