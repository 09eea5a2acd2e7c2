"""A schedule of MMEngine, stretched to a run of another length."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from ausam_core.errors import AusamError

# Whose shape lies between begin and end, whatever their distance, but for a length set beside.
_LENGTHS = {
    "Constant": (),
    "CosineAnnealing": ("T_max",),
    "Linear": (),
    "OneCycle": ("total_steps",),
    "Poly": (),
}
_KINDS = (*_LENGTHS, "CosineRestart", "Exponential", "MultiStep", "Step")
_OF_WHAT = r"(LR|Momentum|ParamScheduler)$"


def stretch(scheduler: Mapping[str, Any], epochs: int, was: int, config: str) -> dict[str, Any]:
    """A scheduler of a run of ``was`` epochs for one of ``epochs``.

    Args:
        scheduler: config of the scheduler; its numbers are epochs or iterations.
        epochs, was: how long the run is, and how long the config makes it.
        config: its name, for messages.

    Raises:
        AusamError: for a kind of schedule of which it is not known what a longer one would be.
    """
    factor, kind = epochs / was, _kind(scheduler)
    if kind == "ReduceOnPlateau":
        raise AusamError(
            f"{config} has the schedule {_name(scheduler)}, which follows evaluations, and a study "
            "evaluates once, at the end of a run; use CosineAnnealingLR or MultiStepLR"
        )
    if kind not in _KINDS and factor != 1:
        raise AusamError(
            f"{config} has the schedule {_name(scheduler)}, of which a run of {epochs} epochs "
            f"instead of {was} needs another, and it is not known which; use "
            f"{', '.join(f'{name}LR' for name in _KINDS)}"
        )
    changed = dict(scheduler)
    for key in ("begin", "end"):
        if key in changed:
            changed[key] = round(changed[key] * factor)
    for key in _LENGTHS.get(kind, ()):
        if changed.get(key) is not None:
            changed[key] = max(1, round(changed[key] * factor))
    if kind == "MultiStep":
        changed["milestones"] = [max(1, round(m * factor)) for m in changed["milestones"]]
    elif kind == "Exponential":  # as far in the end
        changed["gamma"] = changed["gamma"] ** (1 / factor)
    elif kind == "CosineRestart":  # restarts are rounded, so that rounding does not add up
        ends = [round(end * factor) for end in accumulate(changed["periods"])]
        changed["periods"] = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    elif kind == "Step" and factor != 1:
        changed = _steps(changed, epochs, was, scheduler)
    return changed


def _steps(
    changed: dict[str, Any], epochs: int, was: int, before: Mapping[str, Any]
) -> dict[str, Any]:
    """Steps of a size that is no whole number any more are steps at milestones."""
    factor, size = epochs / was, before["step_size"]
    if not before.get("by_epoch", True):  # thousands of iterations: rounding does not matter
        return dict(changed, step_size=max(1, round(size * factor)))
    length = min(before.get("end", was), was) - before.get("begin", 0)
    changed.pop("step_size")
    changed["type"] = re.sub(r"Step(?=[A-Z])", "MultiStep", _name(before))
    changed["milestones"] = [max(1, round(m * factor)) for m in range(size, length, size)]
    return changed


def _name(scheduler: Mapping[str, Any]) -> str:
    kind = scheduler["type"]
    return kind if isinstance(kind, str) else kind.__name__


def _kind(scheduler: Mapping[str, Any]) -> str:
    """``CosineAnnealing`` of ``mmengine.CosineAnnealingLR``."""
    return re.sub(_OF_WHAT, "", _name(scheduler).rpartition(".")[2])
