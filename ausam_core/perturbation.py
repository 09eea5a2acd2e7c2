"""The perturbation of SAM, ``ε = ρ·g/‖g‖₂``, and its adaptive form.

SAM: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization" (2021),
Eq. 2. ASAM: Kwon et al., "ASAM: Adaptive Sharpness-Aware Minimization" (2021), Eq. 7, in the form
of its authors' code: ``T = |w| + η`` for parameters called *weight*, 1 for the others (the
widespread ``adaptive=True`` takes ``T = |w|`` for all, with another best ρ).

The work is done by foreach operators: their number does not depend on the number of parameters.
Nothing is read on the host. Weights come back from a copy: ``w + ε − ε`` is not ``w`` in floating
point, and drifts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError

Exclude = Callable[[str, nn.Parameter], bool] | Sequence[str]
"""Which parameters stay where they are."""


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """``‖·‖₂`` over all tensors together, in fp32, 0-dim, on the device of the first. An empty list
    gives 0."""
    if not tensors:
        return torch.zeros(())
    norms = torch._foreach_norm(tensors, 2, dtype=torch.float32)
    device = norms[0].device
    return torch.linalg.vector_norm(torch.stack([n.to(device) for n in norms]))


@dataclass
class Climb:
    """What climbing found out.

    Attributes:
        norm: ``‖g‖`` (adaptive: ``‖T∘g‖``) over all perturbed parameters, fp32, 0-dim, with
            whatever loss scale is in g.
        finite: whether the norm is finite, 0-dim bool on the device.
    """

    norm: Tensor
    finite: Tensor


class Perturbation:
    """Moves the parameters of an optimizer to ``w + ε`` and back to exactly ``w``.

    Only parameters that are in the optimizer, require a gradient and have one are moved; the norm
    is taken over those alone. A parameter group may carry its own ``rho``.

    Args:
        optimizer: its parameter groups say what is perturbed.
        rho: radius of the ball, ρ ≥ 0; a group's key ``rho`` overrides it.
        adaptive: use ASAM's normalisation.
        eta: ASAM's η, added to ``|w|``.
        names: name of each parameter; needed by ``adaptive`` and ``exclude``.
        exclude: parameters to leave alone: a function of (name, parameter), or regular expressions
            searched in the name, for example ``[r"\\\\.bn\\\\d"]``.

    Raises:
        AusamError: for ρ < 0, for names that are missing, for sharded parameters.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        eta: float = 0.01,
        names: Mapping[nn.Parameter, str] | None = None,
        exclude: Exclude | None = None,
    ) -> None:
        if not rho >= 0:
            raise AusamError(f"rho must be 0 or more, found {rho}; the usual value is 0.05")
        if (adaptive or exclude) and names is None:
            raise AusamError(
                "adaptive=True and exclude=… go by the names of parameters, and no model was "
                "given; pass model=…"
            )
        self.optimizer, self.rho, self.adaptive, self.eta = optimizer, float(rho), adaptive, eta
        self._names, self.excluded = names or {}, _as_predicate(exclude)
        self._copies: dict[nn.Parameter, Tensor] = {}
        self._moved: list[nn.Parameter] = []
        for group in optimizer.param_groups:
            if not group.get("rho", self.rho) >= 0:
                raise AusamError(
                    f"rho of a parameter group must be 0 or more, found {group['rho']}"
                )
            for parameter in group["params"]:
                if type(parameter.data).__name__ == "DTensor":
                    raise AusamError(
                        "sharded parameters (FSDP2, tensor parallel) are not supported: the norm "
                        "of their gradient would miss the other shards; use DistributedDataParallel"
                    )

    @torch.no_grad()
    def climb(self) -> Climb:
        """Move to the local maximum: ``w ← w + ε``.

        The gradients are consumed: afterwards ``.grad`` holds the direction ε/ρ. Where the norm is
        not finite the weights become NaN or stay, and ``finite`` is False; :meth:`restore` brings
        them back in any case.

        Raises:
            AusamError: for sparse gradients.
        """
        self.restore()
        by_rho = self._by_rho()
        parameters = [p for group in by_rho.values() for p in group]
        if not parameters:
            zero = torch.zeros(())
            return Climb(norm=zero, finite=zero < math.inf)
        gradients = [p.grad for p in parameters]
        # Adaptive: g becomes T∘g, whose norm counts; once more times T gives the direction T²∘g.
        scales = self._scale_by_weight(parameters, gradients) if self.adaptive else None
        norm = global_norm(gradients)
        finite = norm < math.inf  # one operator where isfinite takes four; false for NaN too
        if scales is not None:
            torch._foreach_mul_(scales[0], scales[1])
        # A zero gradient gives ε = 0 · (1 / 1e-12) = 0, never 0/0.
        torch._foreach_mul_(gradients, (norm + 1e-12).reciprocal_())
        self._save(parameters)
        for rho, group in by_rho.items():
            torch._foreach_add_(group, [p.grad for p in group], alpha=rho)
        return Climb(norm=norm, finite=finite)

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that :meth:`climb` would move now: not excluded, and with a gradient."""
        return [p for group in self._by_rho().values() for p in group]

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights back, to the bit. Does nothing where nothing was moved."""
        if self._moved:
            torch._foreach_copy_(self._moved, [self._copies[p] for p in self._moved])
            self._moved = []

    @property
    def moved(self) -> Sequence[nn.Parameter]:
        """The parameters that are at ``w + ε``; none after :meth:`restore`."""
        return self._moved

    def _by_rho(self) -> dict[float, list[nn.Parameter]]:
        found: dict[float, list[nn.Parameter]] = {}
        for group in self.optimizer.param_groups:
            chosen = found.setdefault(float(group.get("rho", self.rho)), [])
            for parameter in group["params"]:
                if parameter.grad is None or not parameter.requires_grad:
                    continue
                if parameter.grad.layout != torch.strided:
                    raise AusamError(
                        f"a parameter of shape {list(parameter.shape)} has a sparse gradient, "
                        "which SAM cannot perturb by; use sparse=False in its Embedding"
                    )
                if self.excluded is None or not self.excluded(
                    self._names.get(parameter, ""), parameter
                ):
                    chosen.append(parameter)
        return {rho: chosen for rho, chosen in found.items() if chosen}

    def _scale_by_weight(
        self, parameters: list[nn.Parameter], gradients: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]] | None:
        """Multiply the gradients of weights by T = |w| + η; return those gradients and T."""
        pairs = [
            (p, g)
            for p, g in zip(parameters, gradients, strict=True)
            if "weight" in self._names.get(p, "")
        ]
        if not pairs:
            return None
        scales = torch._foreach_abs([p for p, _ in pairs])
        torch._foreach_add_(scales, self.eta)
        scaled = [g for _, g in pairs]
        torch._foreach_mul_(scaled, scales)
        return scaled, scales

    def _save(self, parameters: list[nn.Parameter]) -> None:
        for parameter in parameters:
            if parameter not in self._copies:
                self._copies[parameter] = torch.empty_like(parameter)
        torch._foreach_copy_([self._copies[p] for p in parameters], parameters)
        self._moved = parameters


def parameter_names(model: nn.Module | None) -> dict[nn.Parameter, str] | None:
    """Name of each parameter of a model, or None without a model."""
    return None if model is None else {p: name for name, p in model.named_parameters()}


def _as_predicate(exclude: Exclude | None) -> Callable[[str, nn.Parameter], bool] | None:
    if exclude is None or callable(exclude):
        return exclude
    patterns: Iterable[re.Pattern[str]] = [re.compile(pattern) for pattern in exclude]
    return lambda name, parameter: any(pattern.search(name) for pattern in patterns)
