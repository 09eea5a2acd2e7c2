"""What a recorder kept of the calls of loss modules, held against the loss that is differentiated.

Comparing waits for the device; keeping does not, and copies nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError


@dataclass
class RecordedCall:
    """One call of a loss module.

    Attributes:
        name, kind: of the module: its place in the model, its class.
        values: the loss of each sample, ``[N]``, detached.
        output: what the module returned, detached, where that is a tensor. It is not copied: what
            the model adds to it in place moves its version, and it is then not known any more.
        version: of the output, when it was returned.
    """

    name: str
    kind: str
    values: Tensor
    output: Tensor | None = None
    version: int = 0

    @classmethod
    def of(cls, name: str, module: nn.Module, values: Tensor, output: Any) -> RecordedCall:
        """The record of a call that has just been made."""
        call = cls(name, type(module).__name__, values.detach())
        if isinstance(output, Tensor) and not output.is_inference():
            call.output, call.version = output.detach(), output._version
        return call

    def returned(self) -> Tensor | None:
        """What the module returned, on the host; None where it is not known any more."""
        if self.output is None or self.output._version != self.version:
            return None
        return _on_host(self.output).mean()


def added(calls: list[RecordedCall]) -> Tensor:
    """The loss of each sample over all calls, ``[N]``.

    Raises:
        AusamError: if they saw batches of different size.
    """
    if len({call.values.shape for call in calls}) > 1:
        raise AusamError(_cannot_be_added(calls, [""] * len(calls)))
    if len(calls) == 1:
        return calls[0].values
    return torch.stack([call.values for call in calls]).sum(0)


def check_handlers(calls: list[RecordedCall], total: Tensor) -> set[str]:
    """Hold each call's losses against what its module returned, where that is known.

    Returns:
        How all modules reduce, "mean" or "sum"; both where that cannot be told.

    Raises:
        AusamError: if a handler contradicts its module, or modules reduce differently.
    """
    slack = _slack(calls, total)
    reductions = []
    for call in calls:
        returned = call.returned()
        values = _on_host(call.values)
        fits = {"sum", "mean"} if returned is None else _reductions(values, returned, slack)
        if not fits:
            raise AusamError(
                f"the loss of each sample does not fit {call.name} ({call.kind}): it returned "
                f"{returned:.6g}, the samples give a mean of {values.mean():.6g} and a sum of "
                f"{values.sum():.6g}; register a handler that fits with register_per_sample_loss"
            )
        reductions.append(fits)
    common = set.intersection(*reductions)
    if not common:
        raise AusamError(_cannot_be_added(calls, ["/".join(sorted(r)) for r in reductions]))
    return common


def _reductions(values: Tensor, output: Tensor, slack: float) -> set[str]:
    """How ``values`` [N] become ``output``, both on the host: "sum", "mean", both or neither."""
    return {
        name
        for name in ("sum", "mean")
        # Losses of both signs (a log-likelihood) may cancel: their size is what rounding is of.
        if abs(float(getattr(values, name)() - output))
        <= slack * max(abs(float(output)), float(getattr(values.abs(), name)())) + 1e-9
    }


def _cannot_be_added(calls: list[RecordedCall], reductions: list[str]) -> str:
    shapes = ", ".join(
        f"{call.name}: {reduction + ' over ' if reduction else ''}{list(call.values.shape)}"
        for call, reduction in zip(calls, reductions, strict=True)
    )
    return (
        f"the losses of this model cannot be added sample by sample ({shapes}); name those that "
        "can with loss_modules=[…], or choose by chance (UniformSelection), which needs none"
    )


def what_is_missing(calls: list[RecordedCall], total: Tensor, reductions: set[str]) -> str | None:
    """A sentence on how the losses of the samples differ from the total; None where their mean or
    their sum is the total.

    Args:
        calls: what was recorded.
        total: the loss that is differentiated.
        reductions: what :func:`check_handlers` gave; the sentence speaks of it.
    """
    goal, values = _on_host(total).mean(), _on_host(added(calls))
    if _reductions(values, goal, _slack(calls, total)):
        return None
    reduction = min(sorted(reductions), key=lambda name: abs(float(getattr(values, name)() - goal)))
    given: dict[str, float] = {}
    for call in calls:
        key = f"{call.name} ({call.kind})"
        given[key] = given.get(key, 0.0) + float(getattr(_on_host(call.values), reduction)())
    parts = ", ".join(f"{name} {value:.6g}" for name, value in given.items())
    missing = float(goal) - math.fsum(given.values())
    verdict = f"{missing:.6g} is missing" if missing > 0 else f"that is {-missing:.6g} too much"
    return (
        "the losses of the samples are not the loss that is differentiated: the total is "
        f"{goal:.6g}, the loss modules that are watched give a {reduction} of {parts}; {verdict}. "
        "Compute each part of the loss in a module, with its factor inside, or name with "
        "loss_modules=[…] the modules whose losses alone count"
    )


def _slack(calls: list[RecordedCall], total: Tensor) -> float:
    """The relative difference that rounding may make, by the coarsest dtype."""
    tensors = [total, *(t for call in calls for t in (call.values, call.output) if t is not None)]
    epsilons = (torch.finfo(t.dtype).eps for t in tensors if t.is_floating_point())
    return max(1e-2, 4 * max(epsilons, default=0.0))


def _on_host(values: Tensor) -> Tensor:
    return values.detach().cpu().double()
