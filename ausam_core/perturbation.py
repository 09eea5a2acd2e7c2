"""The perturbation of SAM, ``ε = ρ·g/‖g‖₂``, and its adaptive form.

SAM: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization" (2021),
Eq. 2. ASAM: Kwon et al., "ASAM: Adaptive Sharpness-Aware Minimization" (2021), Eq. 7, in the form
of its authors' code: ``T = |w| + η`` for parameters called *weight*, 1 for the others (the
widespread ``adaptive=True`` takes ``T = |w|`` for all, with another best ρ).

The work is done by foreach operators: their number does not depend on the number of parameters.
Nothing is read on the host. Weights come back from a copy: ``w + ε − ε`` is not ``w`` in floating
point, and drifts. Of a sharded parameter each rank moves and copies its own shard.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError, as_number
from ausam_core.ranks import global_norm, local, reshard
from ausam_core.wrappers import inner_optimizers, parameter_names

Exclude = Callable[[str, nn.Parameter], bool] | Sequence[str] | str
"""Which parameters stay where they are."""


@dataclass
class Climb:
    """What climbing found out.

    Attributes:
        norm: ``‖g‖`` (adaptive: ``‖T∘g‖``) over all perturbed parameters, 0-dim, fp32 (fp64 with
            fp64 gradients), with whatever loss scale is in g.
        finite: whether the norm is finite, 0-dim bool on the device.
    """

    norm: Tensor
    finite: Tensor


class Perturbation:
    """Moves the parameters of an optimizer to ``w + ε`` and back to exactly ``w``.

    Only parameters that are in the optimizer, require a gradient and have one are moved; the norm
    is taken over those alone. A parameter group may carry its own ``rho``, unless that key means
    something to the optimizer itself (Adadelta's decay).

    Args:
        optimizer: its parameter groups say what is perturbed.
        rho: radius of the ball, ρ ≥ 0; a group's key ``rho`` overrides it.
        adaptive: use ASAM's normalisation.
        eta: ASAM's η, added to ``|w|``.
        model: names the parameters; needed by ``adaptive`` and ``exclude``, and by ``fully_shard``,
            whose modules must gather again what was moved.
        exclude: parameters to leave alone: a function of (name, parameter), or regular expressions
            searched in the name (without the prefixes of DDP, ``torch.compile`` and the like), for
            example ``[r"\\.bn\\d"]``; one may stand alone.

    Attributes:
        scale: multiplies every radius; methods move it.

    Raises:
        AusamError: for ρ < 0, for ``adaptive`` or ``exclude`` without a model, for a pattern that
            matches no parameter.
    """

    def __init__(
        self,
        optimizer: Any,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        eta: float = 0.01,
        model: nn.Module | None = None,
        exclude: Exclude | None = None,
    ) -> None:
        if not as_number("rho", rho) >= 0:
            raise AusamError(f"rho must be 0 or more, found {rho}; the usual value is 0.05")
        if (adaptive or exclude) and model is None:
            raise AusamError(
                "adaptive=True and exclude=… go by the names of parameters, and no model was "
                "given; pass model=…"
            )
        if isinstance(exclude, str):
            exclude = [exclude]  # and not its letters, of which "i" is in every "weight"
        self.optimizer, self.adaptive, self.eta = optimizer, adaptive, eta
        self._rho = float(rho)
        self.scale = 1.0
        self._model = model
        self._names: dict[nn.Parameter, str] = {}
        self.excluded = _as_predicate(exclude)
        self._copies: dict[nn.Parameter, Tensor] = {}
        self._moved: list[nn.Parameter] = []
        if exclude is not None and not callable(exclude):
            assert model is not None
            _check_patterns(exclude, list(parameter_names(model).values()))
        self._group_key_is_ours = not any(
            "rho" in getattr(inner, "defaults", {}) for inner in inner_optimizers(optimizer)
        )
        for group in optimizer.param_groups:
            if not self.radius_of(group) >= 0:
                raise AusamError(
                    f"rho of a parameter group must be 0 or more, found {group['rho']}"
                )

    @property
    def rho(self) -> float:
        """The radius at work for groups without one of their own."""
        return self.scale * self._rho

    @rho.setter
    def rho(self, rho: float) -> None:
        if not as_number("rho", rho) >= 0:
            raise AusamError(f"rho must be 0 or more, found {rho}")
        self._rho = float(rho) / self.scale

    def radius_of(self, group: dict[str, Any]) -> float:
        """The radius at work for a parameter group."""
        rho = group.get("rho", self._rho) if self._group_key_is_ours else self._rho
        return self.scale * float(rho)

    def climb(self) -> Climb:
        """Move to the local maximum: ``w ← w + ε``.

        The gradients are consumed: afterwards ``.grad`` holds the direction ε/ρ. Where the norm is
        not finite the weights become NaN or stay, and ``finite`` is False; :meth:`restore` brings
        them back in any case.

        Raises:
            AusamError: for sparse gradients.
        """
        self._begin()
        return self._climb_by({p: p.grad for p in self.parameters() if p.grad is not None})

    def climb_by(self, directions: dict[nn.Parameter, Tensor]) -> Climb:
        """Like :meth:`climb`, along other directions than the gradient; they are consumed.

        Args:
            directions: a tensor laid out like its parameter, for those to be moved.
        """
        self._begin()
        wanted = set(directions)
        movable = [p for p in self._movable() if p in wanted]
        return self._climb_by({p: directions[p] for p in movable})

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that :meth:`climb` would move now: not excluded, and with a gradient."""
        return [p for p in self._movable() if p.grad is not None]

    def excludes(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter stays where it is."""
        return self.excluded is not None and self.excluded(self.name_of(parameter), parameter)

    def name_of(self, parameter: nn.Parameter) -> str:
        """Name of a parameter in the model as it is now, "" where it has none."""
        name = self._names.get(parameter)
        if name is None and self._model is not None:
            # Heads are swapped and layers converted while a method lives.
            reshard(self._model, [parameter])
            self._names = parameter_names(self._model)
            name = self._names.setdefault(parameter, "")
        return name or ""

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights back, to the bit. Does nothing where nothing was moved."""
        if self._moved:
            moved, self._moved = self._moved, []
            self._reshard(moved)
            torch._foreach_copy_([local(p) for p in moved], [self._copies[p] for p in moved])
            forget_casts()

    @property
    def moved(self) -> Sequence[nn.Parameter]:
        """The parameters that are at ``w + ε``; none after :meth:`restore`."""
        return self._moved

    def _begin(self) -> None:
        self.restore()
        self._reshard([p for group in self.optimizer.param_groups for p in group["params"]])

    def _reshard(self, parameters: list[nn.Parameter]) -> None:
        """Let no pass see weights that were gathered before these move."""
        if self._model is not None:
            reshard(self._model, parameters)

    @torch.no_grad()
    def _climb_by(self, directions: dict[nn.Parameter, Tensor]) -> Climb:
        if not directions:
            zero = torch.zeros((), dtype=torch.float32)
            return Climb(norm=zero, finite=zero < math.inf)
        parameters = list(directions)
        parts = [local(d) for d in directions.values()]
        # Adaptive: g becomes T∘g, whose norm counts; once more times T gives the direction T²∘g.
        scales = self._scale_by_weight(parameters, parts) if self.adaptive else None
        norm = global_norm(list(directions.values()))
        finite = norm < math.inf  # one operator where isfinite takes four; false for NaN too
        if scales is not None:
            torch._foreach_mul_(scales[0], scales[1])
        divide(parts, norm + 1e-12)  # a zero gradient gives ε = 0 / 1e-12 = 0, never 0/0
        self._save(parameters)
        part_of = dict(zip(parameters, parts, strict=True))
        for rho, group in self._by_radius(parameters).items():
            torch._foreach_add_([local(p) for p in group], [part_of[p] for p in group], alpha=rho)
        forget_casts()
        return Climb(norm=norm, finite=finite)

    def _movable(self) -> list[nn.Parameter]:
        found = []
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if not parameter.requires_grad:
                    continue
                if parameter.grad is not None and parameter.grad.layout != torch.strided:
                    raise AusamError(
                        f"a parameter of shape {list(parameter.shape)} has a sparse gradient, "
                        "which SAM cannot perturb by; use sparse=False in its Embedding"
                    )
                if not self.excludes(parameter):
                    found.append(parameter)
        return found

    def _by_radius(self, parameters: list[nn.Parameter]) -> dict[float, list[nn.Parameter]]:
        groups = self.optimizer.param_groups
        if len(groups) == 1:
            return {self.radius_of(groups[0]): parameters}
        wanted = set(parameters)
        found: dict[float, list[nn.Parameter]] = {}
        for group in groups:
            found.setdefault(self.radius_of(group), []).extend(
                p for p in group["params"] if p in wanted
            )
        return {rho: chosen for rho, chosen in found.items() if chosen}

    def _scale_by_weight(
        self, parameters: list[nn.Parameter], gradients: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]] | None:
        """Multiply the gradients of weights by T = |w| + η; return those gradients and T."""
        pairs = [
            (local(p), g)
            for p, g in zip(parameters, gradients, strict=True)
            if "weight" in self.name_of(p)
        ]
        if not pairs:
            return None
        scales = torch._foreach_abs([p for p, _ in pairs])
        torch._foreach_add_(scales, self.eta)
        scaled = [g for _, g in pairs]
        torch._foreach_mul_(scaled, scales)
        return scaled, list(scales)

    def _save(self, parameters: list[nn.Parameter]) -> None:
        sources = [local(p) for p in parameters]
        for parameter, source in zip(parameters, sources, strict=True):
            copy = self._copies.get(parameter)
            # A parameter may have grown, or moved to another dtype or device.
            if copy is None or not same_kind(copy, source):
                self._copies[parameter] = torch.empty_like(source)
        torch._foreach_copy_([self._copies[p] for p in parameters], sources)
        self._moved = parameters
        if len(self._copies) > sum(len(g["params"]) for g in self.optimizer.param_groups):
            self._copies = {p: self._copies[p] for p in parameters}


def same_kind(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape, dtype and device."""
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device


def divide(tensors: Sequence[Tensor], divisor: Tensor) -> None:
    """Divide tensors, on whatever devices, by a 0-dim tensor, in place."""
    devices = dict.fromkeys(t.device for t in tensors)
    for device in devices:
        here = tensors if len(devices) == 1 else [t for t in tensors if t.device == device]
        torch._foreach_div_(list(here), divisor.to(device))


def forget_casts() -> None:
    """Drop what autocast remembers of the weights, because they have moved.

    Around a whole step (and not only around the forward pass) autocast would go on with its
    half-precision copies of the old weights: pass 2 would never see ε.
    """
    if torch.is_autocast_cache_enabled():
        torch.clear_autocast_cache()


class _Matches:
    """Whether a name matches one of some patterns; a class, so that a method can be pickled."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def __call__(self, name: str, parameter: nn.Parameter) -> bool:
        return any(pattern.search(name) for pattern in self._patterns)


def _as_predicate(exclude: Exclude | None) -> Callable[[str, nn.Parameter], bool] | None:
    return exclude if exclude is None or callable(exclude) else _Matches(exclude)


def _check_patterns(patterns: Sequence[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise AusamError(
                f"exclude names {pattern!r}, which no parameter's name matches; there are "
                f"{', '.join(names[:4])}{', …' if len(names) > 4 else ''}"
            )
