"""Sharpness-Aware Minimization: descend by the gradient at the worst point nearby.

Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization" (ICLR 2021),
Eq. 2 and 3: ``ε = ρ·g/‖g‖₂``, then ``w ← base(w, ∇L(w+ε))``. ``adaptive=True`` is ASAM (Kwon et
al., ICML 2021).

Differences from the public PyTorch code: foreach operators; weights restored in place from a copy,
so that views, CUDA graphs and DDP buckets stay valid; the closure runs both passes, no hidden
backward before; running statistics frozen in pass 2; the loss scale needs no unscaling between the
passes, since ``g/‖g‖`` does not depend on it; the state holds the base optimizer's momentum.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ausam_core import gradients
from ausam_core.errors import AusamError
from ausam_core.gradients import Gradients
from ausam_core.losses import ForwardRecord
from ausam_core.methods.directions import Directions
from ausam_core.methods.method import Method
from ausam_core.passes import Passes, second_pass
from ausam_core.perturbation import Climb, Exclude, Perturbation
from ausam_core.ranks import average, global_norm, local
from ausam_core.step_result import StepResult


class SAM(Method):
    """SAM and ASAM, around any base optimizer.

    Args:
        optimizer: the base optimizer.
        model: the model; BatchNorm statistics move once a step, by pass 1.
        rho: radius ρ; a parameter group's ``rho`` overrides it. 0 gives the base optimizer.
        adaptive: ASAM; its ρ is larger (0.5 on CIFAR-10, 1 on CIFAR-100 in its paper).
        eta: ASAM's η.
        ascent: share of the trained samples, in (0, 1], that pass 1 climbs by, the first of each
            rank's batch; pass 2 descends by all. Below 1 the closure must take positions, ``def
            closure(subset=slice(None))``, the step must know its batch, and the losses before are
            known of the samples that ascend.
        perturb: ``"global"``: all ranks climb by the averaged gradient, but for batches that are
            accumulated in ``no_sync()``, where there is none. ``"local"``: each rank climbs by its
            own (m-sharpness, as in the paper), which saves one all-reduce a step.
        exclude: parameters that are not perturbed; see
            :class:`~ausam_core.perturbation.Perturbation`.
        excluded_pass: which pass the gradient of excluded parameters is taken from: 2, as that of
            all others, or 1, at w. For parameters whose two gradients conflict, such as
            quantization steps.
        replay_random_state: pass 2 sees the dropout masks of pass 1; keeps ``d_i`` free of their
            noise.
        **kwargs: see :class:`~ausam_core.methods.method.Method`.

    Raises:
        AusamError: for ρ < 0, for an unknown ``perturb`` or ``excluded_pass``, for a share outside
            (0, 1].
    """

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        eta: float = 0.01,
        ascent: float = 1.0,
        perturb: Literal["global", "local"] = "global",
        exclude: Exclude | None = None,
        excluded_pass: Literal[1, 2] = 2,
        replay_random_state: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, **kwargs)
        if perturb not in ("global", "local"):
            raise AusamError(f'perturb must be "global" or "local", found {perturb!r}')
        if excluded_pass not in (1, 2) or (excluded_pass == 1 and perturb == "local"):
            raise AusamError(
                'excluded_pass must be 2, or 1 together with perturb="global", which averages the '
                f"gradient of pass 1; found {excluded_pass!r} with perturb={perturb!r}"
            )
        if not 0 < ascent <= 1:
            raise AusamError(f"ascent is a share of the batch, in (0, 1]; found {ascent}")
        self.excluded_pass, self.ascent = excluded_pass, float(ascent)
        self.perturbation = Perturbation(
            optimizer, rho, adaptive=adaptive, eta=eta, model=model, exclude=exclude
        )
        self.local_first_pass = perturb == "local"
        self.replay_random_state = replay_random_state

    def gradient(self, passes: Passes) -> StepResult:
        first = self.first_pass(passes)
        climb, second, _ = self.second_pass(passes)
        return self.perturbed_result(passes, first, second, climb)

    def abandon(self) -> None:
        self.perturbation.restore()

    def first_pass(self, passes: Passes) -> ForwardRecord:
        """Forward and backward at w, by the samples that ascend."""
        record = passes.forward(self.first_samples(passes.size))
        passes.backward(record)
        if self.ascent == 1 or record.per_sample is None:
            return record
        rest = (passes.size or 0) - len(record.per_sample)
        padded = torch.cat([record.per_sample, record.per_sample.new_full((rest,), torch.nan)])
        return replace(record, per_sample=padded)

    def second_pass(
        self, passes: Passes, *, keep_direction: bool = False
    ) -> tuple[Climb, ForwardRecord, Directions]:
        """Climb by the gradient in ``.grad``, forward and backward at w + ε, restore.

        Args:
            passes: the passes of this step.
            keep_direction: return the direction of the climb, ``g/‖g‖``.

        Returns:
            What climbing found, the record of pass 2, and the direction (empty if not kept).
        """
        try:
            climb = self.perturbation.climb()
            moved = set(self.perturbation.moved)
            kept = moved if keep_direction else set()
            direction = {p: local(g) for p, g in self._own_of(kept)}
            at_w = self._own_of(set(self.parameters()) - moved) if self.excluded_pass == 1 else []
            gradients.clear(self.parameters())
            with second_pass(), self.statistics.frozen():
                second = self.descend(passes)
        finally:
            self.perturbation.restore()
        for parameter, gradient in at_w:
            parameter.grad = gradient
        return climb, second, direction

    def descend(self, passes: Passes) -> ForwardRecord:
        """The passes at w + ε; returns the record whose losses count as those after."""
        second = passes.forward()
        passes.backward(second)
        return second

    def perturbed_result(
        self, passes: Passes, first: ForwardRecord, second: ForwardRecord, climb: Climb
    ) -> StepResult:
        """The result of a step with both passes."""
        finite = climb.finite.to(first.total.device)
        finite = finite & self.finite_gradient(second.total)
        return self.result(passes, first, second, passes.unscaled(climb.norm), finite)

    def plain_result(self, passes: Passes, first: ForwardRecord, norm: Tensor) -> StepResult:
        """The result of a step that stops after pass 1."""
        finite = self.finite_gradient(first.total)
        return self.result(passes, first, None, passes.unscaled(norm), finite)

    def perturbed_norm(self, passes: Passes) -> Tensor:
        """``‖g‖`` over the parameters that would be perturbed, 0-dim, the same on all ranks.

        Where each rank has a gradient of its own it is the root mean square of their norms.
        """
        found = [p.grad for p in self.perturbation.parameters()]
        norm = global_norm([g for g in found if g is not None])
        if passes.averaged:
            return norm
        square = norm.square()
        average([square], self.process_group)
        return square.sqrt()

    def first_samples(self, size: int | None) -> Tensor | None:
        """The samples that pass 1 climbs by: the share ``ascent``, but 2 at least for BatchNorm."""
        if self.ascent == 1 or self.waits:
            return None
        if size is None:
            raise AusamError(
                f"ascent={self.ascent:g} climbs by a part of the batch, but the step does not know "
                "its batch; call method.step(closure, batch=batch) with the batch from "
                "sampler.over(loader)"
            )
        count = max(min(2, size), math.floor(self.ascent * size + 1e-9))
        return torch.arange(count, device=self.parameters()[0].device)

    def _own_of(self, wanted: set[nn.Parameter]) -> Gradients:
        return gradients.own((p, p.grad) for p in self.parameters() if p in wanted)
