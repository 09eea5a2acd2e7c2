"""MESA: SAF with an average of the weights as the reference, instead of stored outputs.

Du et al., "Sharpness-Aware Training for Free" (NeurIPS 2022), Sect. 4.3: ``L = CE +
λ·τ²·KL(softmax(z_ema/τ) ‖ softmax(z/τ))``, z_ema the class scores, on the same input, of an
exponential moving average of the weights, in evaluation mode. One more forward a step.

Differences from the authors' code: no second model; the average is put into the model for one
forward and taken out again, so any model and any framework will do. It is in the checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord
from ausam_core.methods.method import Method, StepResult
from ausam_core.methods.saf import trajectory_loss
from ausam_core.passes import Passes


class MESA(Method):
    """The base optimizer on a loss that looks up to an average of the weights.

    The closure must return a :class:`~ausam_core.ForwardRecord` with ``outputs``, the class scores
    ``[N, C]`` of the pass. Memory: two copies of weights and buffers.

    Args:
        optimizer, model: see :class:`~ausam_core.Method`.
        lam: weight λ of the term; 0.8 in the authors' README (0.3 in their code).
        tau: temperature τ.
        decay: decay of the average, for each step.
        start_step: first step in which the term counts; five epochs in the authors' code.
        **kwargs: see :class:`~ausam_core.Method`.
    """

    perturbs = False

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        lam: float = 0.8,
        tau: float = 5.0,
        decay: float = 0.9998,
        start_step: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(optimizer, model, **kwargs)
        if not 0 <= decay < 1 or tau <= 0 or lam < 0:
            raise AusamError(
                f"decay must be in [0, 1), tau above 0, lam 0 or more; found {decay}, {tau}, {lam}"
            )
        self.lam, self.tau, self.decay, self.start_step = lam, tau, decay, start_step
        self.steps = 0
        self._average: list[Tensor] = [t.detach().clone() for t in self._tensors()]

    def gradient(self, passes: Passes) -> StepResult:
        self._follow()
        first = passes.forward()
        if not isinstance(first.outputs, Tensor) or first.outputs.dim() != 2:
            raise AusamError(
                "MESA needs the class scores of the pass, shape [N, C], and this model gave none; "
                "return ForwardRecord(total, per_sample, outputs)"
            )
        total = first.total
        if self.steps > self.start_step:
            term = trajectory_loss(self._reference(passes), first.outputs, self.tau).mean()
            total = total + self.lam * term
        passes.backward(ForwardRecord(total))
        return self.result(passes, first, None, None, self.finite_gradient(total))

    def method_state(self) -> dict[str, Any]:
        return {"steps": self.steps, "average": list(self._average)}

    def load_method_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        pairs = zip(self._tensors(), state["average"], strict=True)
        self._average = [a.to(t.device, copy=True) for t, a in pairs]

    def _tensors(self) -> list[Tensor]:
        """Weights and buffers that can be averaged."""
        every = (*self.model.parameters(), *self.model.buffers())
        return [t for t in every if t.is_floating_point()]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the present weights, as the last update left them."""
        torch._foreach_lerp_(self._average, [t.detach() for t in self._tensors()], 1 - self.decay)
        self.steps += 1

    @torch.no_grad()
    def _reference(self, passes: Passes) -> Tensor:
        """Class scores of the average, in evaluation mode, on the same batch."""
        # .data and not .detach(): the graph of pass 1 must not see the tensors move, for they are
        # back, to the bit, before it is differentiated.
        tensors = [t.data for t in self._tensors()]
        kept = [t.clone() for t in tensors]
        modes = {m: m.training for m in self.model.modules()}
        torch._foreach_copy_(tensors, self._average)
        self.model.eval()
        try:
            return passes.forward().outputs.detach()
        finally:
            torch._foreach_copy_(tensors, kept)
            for module, training in modes.items():
                module.training = training
