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

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ausam_core.batch_norm import RunningStatistics
from ausam_core.errors import AusamError
from ausam_core.methods.method import Method, StepResult, record_step
from ausam_core.passes import Passes, second_pass
from ausam_core.perturbation import Exclude, Perturbation, parameter_names


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
        replay_random_state: pass 2 sees the dropout masks of pass 1; keeps ``d_i`` free of their
            noise.
        **kwargs: see :class:`~ausam_core.methods.method.Method`.

    Raises:
        AusamError: for ρ < 0 and for an unknown ``perturb``.
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
        replay_random_state: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, **kwargs)
        if perturb not in ("global", "local"):
            raise AusamError(f'perturb must be "global" or "local", found {perturb!r}')
        self.perturbation = Perturbation(
            optimizer,
            rho,
            adaptive=adaptive,
            eta=eta,
            names=parameter_names(model),
            exclude=exclude,
        )
        self.statistics = RunningStatistics(model)
        self.local_first_pass = perturb == "local"
        self.replay_random_state = replay_random_state

    def gradient(self, passes: Passes) -> StepResult:
        accumulated = self._take_gradients()
        try:
            first = passes.forward()
            passes.backward(first)
        except BaseException:
            self._put_gradients(accumulated)
            raise
        climb = self.perturbation.climb()
        try:
            self._put_gradients(accumulated)
            with second_pass(), self.statistics.frozen():
                second = passes.forward()
                passes.backward(second)
        except BaseException:
            self.optimizer.zero_grad(set_to_none=True)
            raise
        finally:
            self.perturbation.restore()
        finite = climb.finite.to(first.total.device) & self.finite_gradient(second.total)
        if self.scaler is not None:
            self.poison(finite)
        return record_step(first, second, grad_norm=passes.unscaled(climb.norm), finite=finite)

    def _take_gradients(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Set aside what earlier batches accumulated: ε comes from this batch alone."""
        taken = []
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    taken.append((parameter, parameter.grad))
                    parameter.grad = None
        return taken

    def _put_gradients(self, gradients: list[tuple[nn.Parameter, Tensor]]) -> None:
        """Start pass 2 from the accumulated gradients, or from none."""
        self.optimizer.zero_grad(set_to_none=True)
        for parameter, gradient in gradients:
            parameter.grad = gradient
