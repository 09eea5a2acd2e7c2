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

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord
from ausam_core.methods.method import Method, StepResult
from ausam_core.passes import Passes, second_pass
from ausam_core.perturbation import (
    Climb,
    Exclude,
    Perturbation,
    global_norm,
    parameter_names,
)
from ausam_core.ranks import average

Gradients = list[tuple[nn.Parameter, Tensor]]


class SAM(Method):
    """SAM and ASAM, around any base optimizer.

    Args:
        optimizer: the base optimizer.
        model: the model; BatchNorm statistics move once a step, by pass 1.
        rho: radius ρ; a parameter group's ``rho`` overrides it. 0 gives the base optimizer.
        adaptive: ASAM; its ρ is larger (0.5 on CIFAR-10, 1 on CIFAR-100 in its paper).
        eta: ASAM's η.
        perturb: ``"global"``: all ranks climb by the averaged gradient. ``"local"``: each rank
            climbs by its own (m-sharpness, as in the paper), which saves one all-reduce a step.
        exclude: parameters that are not perturbed; see
            :class:`~ausam_core.perturbation.Perturbation`.
        excluded_pass: which pass the gradient of excluded parameters is taken from: 2, as that of
            all others, or 1, at w. For parameters whose two gradients conflict, such as
            quantization steps.
        replay_random_state: pass 2 sees the dropout masks of pass 1; keeps ``d_i`` free of their
            noise.
        **kwargs: see :class:`~ausam_core.methods.method.Method`.

    Raises:
        AusamError: for ρ < 0, for an unknown ``perturb`` or ``excluded_pass``.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        eta: float = 0.01,
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
        self.excluded_pass = excluded_pass
        self.perturbation = Perturbation(
            optimizer,
            rho,
            adaptive=adaptive,
            eta=eta,
            names=parameter_names(model),
            exclude=exclude,
        )
        self.local_first_pass = perturb == "local"
        self.replay_random_state = replay_random_state

    def gradient(self, passes: Passes) -> StepResult:
        accumulated = self.take_gradients()
        first = self.first_pass(passes, accumulated)
        climb, second, _ = self.second_pass(passes, accumulated)
        return self.perturbed_result(passes, first, second, climb)

    def first_pass(self, passes: Passes, accumulated: Gradients) -> ForwardRecord:
        """Forward and backward at w; leaves this batch's gradient alone in ``.grad``."""
        try:
            first = passes.forward()
            passes.backward(first)
        except BaseException:
            self.put_gradients(accumulated)
            raise
        return first

    def second_pass(
        self, passes: Passes, start: Gradients, *, keep_direction: bool = False
    ) -> tuple[Climb, ForwardRecord, Gradients]:
        """Climb by the gradient in ``.grad``, forward and backward at w + ε, restore.

        Args:
            passes: the passes of this step.
            start: what pass 2 adds its gradient to; a method that works with g and g_p starts from
                none and adds what was accumulated at its end.
            keep_direction: return the direction of the climb, ``g/‖g‖``.

        Returns:
            What climbing found, the record of pass 2, and the direction (empty if not kept).
        """
        climb = self.perturbation.climb()
        try:
            moved = self.perturbation.moved
            direction = self._own((p, p.grad) for p in moved) if keep_direction else []
            at_w = self._excluded_at_w() if self.excluded_pass == 1 else []
            excluded = dict(at_w)
            self.put_gradients([(p, g) for p, g in start if p not in excluded])
            with second_pass(), self.statistics.frozen():
                second = self.descend(passes)
        except BaseException:
            self.optimizer.zero_grad(set_to_none=True)
            raise
        finally:
            self.perturbation.restore()
        for parameter, gradient in at_w:
            parameter.grad = gradient
        self.add_gradients([(p, g) for p, g in start if p in excluded], passes)
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

    def take_gradients(self) -> Gradients:
        """Take the gradients away and return them: ε comes from this batch alone."""
        taken = self._own((p, p.grad) for p in self.parameters() if p.grad is not None)
        for parameter, _ in taken:
            parameter.grad = None
        return taken

    def perturbed_norm(self, passes: Passes) -> Tensor:
        """``‖g‖`` over the parameters that would be perturbed, fp32, 0-dim, the same on all ranks.

        Where each rank has a gradient of its own it is the root mean square of their norms.
        """
        norm = global_norm([p.grad for p in self.perturbation.parameters()])
        if passes.averaged:
            return norm
        square = norm.square()
        average(self.model, [square])
        return square.sqrt()

    def finish(self, passes: Passes, result: StepResult, accumulated: Gradients) -> StepResult:
        """Add what earlier batches accumulated, and look at it: it may not be finite either."""
        if accumulated:
            self.add_gradients(accumulated, passes)
            result.finite = result.finite & self.finite_gradient(result.loss)
        return result

    def add_gradients(self, gradients: Gradients, passes: Passes) -> None:
        """Add what earlier batches accumulated, in the mean of the ranks where DDP averages.

        DDP averages what is in ``.grad`` during a backward pass, and these were not.
        """
        if gradients and passes.averaged and isinstance(self.model, DistributedDataParallel):
            gradients = self._averaged(gradients)
        both = [(p.grad, g) for p, g in gradients if p.grad is not None]
        if both:
            torch._foreach_add_([own for own, _ in both], [g for _, g in both])
        for parameter, gradient in gradients:
            if parameter.grad is None:
                parameter.grad = gradient

    def put_gradients(self, gradients: Gradients) -> None:
        """Make these the gradients, and no others."""
        self.optimizer.zero_grad(set_to_none=True)
        for parameter, gradient in gradients:
            parameter.grad = gradient

    def _excluded_at_w(self) -> Gradients:
        """After climbing: the gradient of pass 1 of what did not move."""
        moved = set(self.perturbation.moved)
        return self._own(
            (p, p.grad) for p in self.parameters() if p.grad is not None and p not in moved
        )

    def _averaged(self, gradients: Gradients) -> Gradients:
        """The mean of the ranks; a rank that did not use a parameter takes part with zeros."""
        held = dict(gradients)
        parameters = [p for p in self.parameters() if p.requires_grad]
        whole = [held[p] if p in held else torch.zeros_like(p) for p in parameters]
        average(self.model, whole)
        return list(zip(parameters, whole, strict=True))

    def _own(self, gradients: Iterable[tuple[nn.Parameter, Tensor]]) -> Gradients:
        """Gradients that the next backward pass leaves alone.

        DDP's ``gradient_as_bucket_view`` makes them views of memory that every pass fills anew.
        """
        if getattr(self.model, "gradient_as_bucket_view", False):
            return [(p, g.clone()) for p, g in gradients]
        return list(gradients)


def keep_finite(
    finite: Tensor,
    parameters: list[nn.Parameter],
    new: list[Tensor],
    old: dict[nn.Parameter, Tensor],
) -> dict[nn.Parameter, Tensor]:
    """What a method keeps for later steps: the new tensors if finite, else the old, else zeros.

    NaN that is kept would come again with every reuse. The device decides; nothing is read.
    """
    pairs = zip(parameters, new, strict=True)
    return {p: torch.where(finite, t, old.get(p, 0.0)) for p, t in pairs}
