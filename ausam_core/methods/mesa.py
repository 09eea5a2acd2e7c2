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
from ausam_core.losses import ForwardRecord, mean_loss
from ausam_core.methods.method import Method
from ausam_core.methods.trajectory import class_scores, trajectory_loss
from ausam_core.passes import Passes
from ausam_core.perturbation import forget_casts, same_kind
from ausam_core.ranks import local, placed_like, reshard
from ausam_core.step_result import StepResult


class MESA(Method):
    """The base optimizer on a loss that looks up to an average of the weights.

    The closure must return a :class:`~ausam_core.ForwardRecord` with ``outputs``, the class scores
    ``[N, C]`` of the pass. Memory: two copies of weights and buffers.

    Args:
        optimizer, model: see :class:`~ausam_core.Method`.
        lam: weight λ of the term; 0.8 in the authors' README (0.3 in their code).
        tau: temperature τ.
        decay: decay of the average, for each update.
        start_step: first update in which the term counts; five epochs in the authors' code.
        **kwargs: see :class:`~ausam_core.Method`.
    """

    perturbs = False

    def __init__(
        self,
        optimizer: Any,
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
        self._average: list[Tensor] = [local(t.detach()).clone() for t in self._tensors()]

    def gradient(self, passes: Passes) -> StepResult:
        if self.accumulated.batches == 0:  # those of one update see the same average
            self._follow()
        first = passes.forward()
        scores = class_scores(first, "MESA")
        total = first.total
        if self.steps > self.start_step:
            term = trajectory_loss(self._reference(passes), scores, self.tau)
            total = total + self.lam * mean_loss(term, passes.weights())
        passes.backward(ForwardRecord(total))
        return self.result(passes, first, None, None, self.finite_gradient(total))

    def method_state(self) -> dict[str, Any]:
        pairs = zip(self._average, self._tensors(), strict=True)
        return {"steps": self.steps, "average": [placed_like(a, t) for a, t in pairs]}

    def load_method_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        pairs = zip(self._tensors(), state["average"], strict=True)
        self._average = [local(a).to(local(t).device, copy=True) for t, a in pairs]

    def _tensors(self) -> list[Tensor]:
        """Weights and buffers that can be averaged; of the weights this rank's shards."""
        reshard(self.model, self.parameters())
        every = (*self.model.parameters(), *self.model.buffers())
        return [t for t in every if t.is_floating_point()]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the present weights, as the last update left them."""
        present = [local(t.detach()) for t in self._tensors()]
        if len(present) != len(self._average) or not all(map(same_kind, present, self._average)):
            raise AusamError(
                f"MESA averages {len(self._average)} tensors, and the model has now "
                f"{len(present)} or others; build the method after the model is as it will stay"
            )
        if self.steps == 0:
            # From where the method begins: weights may have been loaded since it was built, and a
            # late start has left three quarters of a run behind.
            torch._foreach_copy_(self._average, present)
        else:
            torch._foreach_lerp_(self._average, present, 1 - self.decay)
        self.steps += 1

    @torch.no_grad()
    def _reference(self, passes: Passes) -> Tensor:
        """Class scores of the average, in evaluation mode, on the same batch."""
        # .data and not .detach(): the graph of pass 1 must not see the tensors move, for they are
        # back, to the bit, before it is differentiated.
        tensors = [local(t.data) for t in self._tensors()]
        kept = [t.clone() for t in tensors]
        modes = {m: m.training for m in self.model.modules()}
        torch._foreach_copy_(tensors, self._average)
        forget_casts()
        self.model.eval()
        try:
            return class_scores(passes.forward(), "MESA").detach()
        finally:
            reshard(self.model, self.parameters())
            torch._foreach_copy_(tensors, kept)
            forget_casts()
            for module, training in modes.items():
                module.training = training
