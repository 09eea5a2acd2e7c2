"""ESAM: perturb a part of the weights, descend by a part of the samples.

Du et al., "Efficient Sharpness-aware Minimization for Improved Training of Neural Networks" (ICLR
2022). Stochastic weight perturbation (SWP): only tensors drawn with probability β are perturbed, by
``ε = (ρ/β)·g/‖g‖`` with the norm over those. Sharpness-sensitive data selection (SDS): the losses
of the whole batch at w + ε are computed without gradient, and only the γK samples whose loss rose
most (signed, unlike AUSAM's absolute difference) give the gradient of the update; each of several
ranks chooses in its own batch.

Whole tensors are drawn, as in the authors' code; the paper speaks of single weights, which saves
nothing. Differences from that code: exactly γK samples are kept (there a strict comparison loses
one, or all); running statistics move once a step (there three times); all ranks draw the same
tensors, and under DDP the gradients of the others are computed all the same, because its reducer
waits for them (there ranks disagree and stop); the weights are restored from a copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ausam_core.batch import number_kept
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord
from ausam_core.methods.sam import SAM
from ausam_core.passes import Passes
from ausam_core.random_state import keyed_generator
from ausam_core.ranks import data_parallel_wrapper, is_sharded, number_of_ranks
from ausam_core.step_result import StepResult
from ausam_core.wrappers import is_compiled


class ESAM(SAM):
    """Both parts of ESAM. β = γ = 1 is SAM.

    With γ < 1 the closure must take positions, ``def closure(subset=slice(None))``, and its loss
    must be one of each sample.

    Args:
        optimizer, model, rho: see :class:`~ausam_core.SAM`.
        beta: probability β that a tensor is perturbed, in (0, 1]; 0.6 or 0.5 in the authors' runs.
        gamma: share γ of the batch in pass 2, in (0, 1]; 0.5.
        seed: seed of the draws, the same on all ranks.
        **kwargs: see :class:`~ausam_core.SAM`.
    """

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.05,
        beta: float = 0.6,
        gamma: float = 0.5,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not (0 < beta <= 1 and 0 < gamma <= 1):
            raise AusamError(f"beta and gamma are shares in (0, 1], found {beta} and {gamma}")
        super().__init__(optimizer, model, rho, **kwargs)
        if self.ascent < 1:
            raise AusamError("ESAM compares the losses of the whole batch; use ascent=1")
        if self.excluded_pass == 1:
            raise AusamError(
                "ESAM has no gradient of all parameters in pass 1; use excluded_pass=2"
            )
        self.beta, self.gamma, self.seed, self.steps = beta, gamma, seed, 0
        self.needs_losses = gamma < 1
        self.perturbation.scale = 1 / beta
        self._excluded_by_user = self.perturbation.excluded
        self._resting: set[nn.Parameter] = set()
        self._frozen: list[nn.Parameter] = []
        self._losses_before: torch.Tensor | None = None

    def prepare(self) -> None:
        """Draw the tensors to perturb; the others need no gradient in pass 1."""
        self._resting = self._draw_resting()
        if self._resting and self._can_freeze():
            self._frozen = list(self._resting)
            for parameter in self._frozen:
                parameter.requires_grad_(False)

    def abandon(self) -> None:
        self._wake()
        super().abandon()

    def gradient(self, passes: Passes) -> StepResult:
        first = passes.forward()
        if self._frozen and not first.total.requires_grad:  # all that the loss depends on rests
            self._wake()
            self._resting = set()
            with self.statistics.frozen():
                first = passes.forward()
        passes.backward(first)
        self._wake()  # not before: activation checkpointing runs the forward again in backward
        if self.gamma < 1 and first.per_sample is None:
            raise AusamError(
                "ESAM keeps the samples whose loss rose most, but the loss is already reduced to a "
                "scalar; return the loss of each sample, shape [N], or set gamma=1"
            )
        self._losses_before = None if first.per_sample is None else first.per_sample.detach()
        self.perturbation.excluded = self._is_resting
        climb, second, _ = self.second_pass(passes)
        return self.perturbed_result(passes, first, second, climb)

    def descend(self, passes: Passes) -> ForwardRecord:
        if self.gamma == 1:
            return super().descend(passes)
        with torch.no_grad():
            whole = passes.forward()
        assert whole.per_sample is not None and self._losses_before is not None
        rise = whole.per_sample.float() - self._losses_before.float()
        kept = rise.topk(number_kept(self.gamma, len(rise)), sorted=False).indices.sort().values
        part = passes.forward(kept)
        passes.backward(part)
        return ForwardRecord(total=part.total, per_sample=whole.per_sample)

    def method_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_method_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]

    def _draw_resting(self) -> set[nn.Parameter]:
        """Tensors that are not perturbed in this step; a function of (seed, step)."""
        generator = keyed_generator("ESAM", self.seed, self.steps)
        self.steps += 1
        parameters = [p for p in self.parameters() if p.requires_grad]
        if self.beta == 1:
            return set()
        rests = (torch.rand(len(parameters), generator=generator) >= self.beta).tolist()
        if all(rests):
            return set()  # a loss needs a gradient
        return {p for p, rest in zip(parameters, rests, strict=True) if rest}

    def _can_freeze(self) -> bool:
        """Whether flags may change from step to step.

        DDP's reducer and a sharded model wait for every gradient, and what is compiled would be
        compiled again.
        """
        alone = number_of_ranks(self.process_group) == 1
        sharded = any(is_sharded(p) for p in self._resting)
        bare = data_parallel_wrapper(self.model) is None and not is_compiled(self.model)
        return alone and bare and not sharded

    def _wake(self) -> None:
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._frozen = []

    def _is_resting(self, name: str, parameter: nn.Parameter) -> bool:
        by_user = self._excluded_by_user is not None and self._excluded_by_user(name, parameter)
        return by_user or parameter in self._resting
