"""LookSAM: a SAM step now and then, and its direction reused in between.

Liu et al., "Towards Efficient and Scalable Sharpness-Aware Minimization" (CVPR 2022), Alg. 1: every
k steps a SAM step also keeps ``g_v``, the part of g_p orthogonal to g; the steps between descend by
``g + α·(‖g‖/‖g_v‖)·g_v``.

There is no official code. Public ports differ from the paper and from each other: norms and
projection tensor by tensor instead of over all weights; a pass 2 that is run in every step; a step
counter that SGD does not have; weights left perturbed. Here: global norms, k−1 of k steps with one
pass, the counter and g_v in the checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.methods.directions import (
    Directions,
    cosine_of_unit_vectors,
    keep_finite,
    loaded,
    norm_of,
    saved,
)
from ausam_core.methods.sam import SAM
from ausam_core.passes import Passes
from ausam_core.ranks import average, is_sharded
from ausam_core.step_result import StepResult


class LookSAM(SAM):
    """SAM every k-th step. k = 1 is SAM.

    Memory: a copy of the weights for g_v, and one of the gradient in a SAM step. The losses after a
    perturbation are known in SAM steps only, so AUSAM×LookSAM scores a k-th of its batches.

    Args:
        optimizer, model, rho: see :class:`~ausam_core.SAM`.
        k: a SAM step every k steps; 5 in the tables of the AUSAM paper.
        alpha: weight α of the reused direction; 0.7 in every implementation.
        **kwargs: see :class:`~ausam_core.SAM`.
    """

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.05,
        k: int = 5,
        alpha: float = 0.7,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, rho, **kwargs)
        if k < 1:
            raise AusamError(f"k is the number of steps from SAM step to SAM step, found {k}")
        if self.local_first_pass or self.perturbation.adaptive:
            raise AusamError(
                'LookSAM reuses a direction that all ranks share; use perturb="global" and '
                "adaptive=False"
            )
        self.k, self.alpha, self.steps = k, alpha, 0
        self._direction: Directions = {}

    @property
    def one_pass(self) -> bool:
        return self.steps % self.k != 0

    def gradient(self, passes: Passes) -> StepResult:
        refresh = not self.one_pass
        if self.k == 1:
            return super().gradient(passes)
        first = self.first_pass(passes)
        self.steps += 1
        if refresh:
            climb, second, direction = self.second_pass(passes, keep_direction=True)
            result = self.perturbed_result(passes, first, second, climb)
            self._keep_direction(direction, result.finite, passes)
            return result
        norm = self.perturbed_norm(passes)
        self._reuse_direction(norm)
        return self.plain_result(passes, first, norm)

    def method_state(self) -> dict[str, Any]:
        return {"steps": self.steps, "direction": saved(self.parameters(), self._direction)}

    def load_method_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self._direction = loaded(self.parameters(), state["direction"])

    @torch.no_grad()
    def _keep_direction(self, first: Directions, finite: Tensor, passes: Passes) -> None:
        """Keep ``g_v/‖g_v‖``, the direction of g_p − ⟨g_p, g⟩/‖g‖²·g; ``first`` is g/‖g‖."""
        perturbed = {p: g for p, g in self.local_gradients() if p in first}
        if not perturbed:
            return
        found = torch._foreach_div(list(perturbed.values()), norm_of(perturbed) + 1e-12)
        unit = dict(zip(perturbed, found, strict=True))
        cosine = cosine_of_unit_vectors(first, {p: u.clone() for p, u in unit.items()})
        along = [first[p] for p in unit]
        torch._foreach_mul_(along, -cosine)
        torch._foreach_add_(found, along)
        if not passes.averaged:  # each rank found its own, and will reuse that of all
            average([u for p, u in unit.items() if not is_sharded(p)], self.process_group)
        size = norm_of(unit)
        torch._foreach_div_(found, size + 1e-12)
        self._direction = keep_finite(finite & (size < torch.inf), unit, self._direction)

    @torch.no_grad()
    def _reuse_direction(self, norm: Tensor) -> None:
        pairs = [(g, self._direction[p]) for p, g in self.local_gradients() if p in self._direction]
        pairs = [(g, d) for g, d in pairs if g.shape == d.shape]
        if pairs:
            reused = torch._foreach_mul([d for _, d in pairs], self.alpha * norm)
            torch._foreach_add_([g for g, _ in pairs], reused)
