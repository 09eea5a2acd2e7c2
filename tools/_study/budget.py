"""Equal budgets: how many epochs of an arm are worth as many sample passes as another's.

A forward with its backward pass over one sample is 1, a forward alone ⅓. What a run really spent
is counted by its method and stands in its record; here it is known beforehand.
"""

from __future__ import annotations

from _study.study import Arm, Study
from ausam_core.batch import number_kept
from ausam_core.errors import AusamError
from ausam_core.schedule import first_epoch

_KEEPS_A_SHARE = ("UniformSelection", "GradientNormSelection", "EL2NSelection")


def passes_of_step(arm: Arm, kept: int) -> float:
    """Sample passes of a step that trains ``kept`` samples, once the arm's method has begun.

    Raises:
        AusamError: for a method whose cost is not known before it runs.
    """
    kind, settings = arm.method["type"], arm.method
    if kind in ("Base", "MSAM"):
        return kept
    if kind == "SAM":
        share = settings.get("ascent", 1)
        return kept + (kept if share == 1 else number_kept(share, kept))
    if kind == "GSAM":
        return 2 * kept
    if kind == "KSAM":
        share = settings.get("gamma", 1 / 3)
        return 2 * kept if share == 1 else kept / 3 + 2 * number_kept(share, kept)
    if kind == "LookSAM":
        return (1 + 1 / settings.get("k", 5)) * kept
    raise _unknown(arm, "method", kind)


def passes_of_run(arm: Arm, samples: int, batch_size: int, epochs: int) -> float:
    """Sample passes of a run of so many epochs.

    Raises:
        AusamError: for a method or selection whose cost is not known before it runs.
    """
    first = first_epoch(arm.start, epochs)
    if arm.cost is not None:
        return first * samples + (epochs - first) * arm.cost * samples
    batches = [batch_size] * (samples // batch_size)
    batches += [samples % batch_size] if samples % batch_size else []
    whole = sum(passes_of_step(arm, size) for size in batches)
    kind = arm.selection["type"]
    if kind == "AllSamples":
        return first * samples + (epochs - first) * whole
    if kind not in _KEEPS_A_SHARE:
        raise _unknown(arm, "selection", kind)
    alpha = arm.selection.get("alpha", 0.5)
    chosen = sum(passes_of_step(arm, number_kept(alpha, size)) for size in batches)
    # Where no score is known yet, the first epoch trains whole batches.
    blind = int(first == 0 < epochs and kind != "UniformSelection")
    return first * samples + blind * whole + (epochs - first - blind) * chosen


def fewest_epochs(arm: Arm) -> int:
    """A late start lies between two epochs, and so needs two."""
    return 2 if arm.start else 1


def _unknown(arm: Arm, what: str, kind: object) -> AusamError:
    return AusamError(
        f"arm {arm.name}: what a step with the {what} {kind} costs is not known before it runs; "
        "say cost=…, its sample passes for each sample of the batch (1 for SGD, 2 for SAM)"
    )


def epochs_for(study: Study, arm: Arm, batch_size: int) -> int:
    """The number of epochs whose passes come nearest to the arm's budget.

    Raises:
        AusamError: where the budget does not pay for one epoch, or for the two of a late start.
    """
    budget = study.budget * arm.times

    def cost(epochs: int) -> float:
        return passes_of_run(arm, study.samples, batch_size, epochs)

    low = fewest_epochs(arm)
    if cost(low) > budget * (1 + 1e-9):
        fewest = "one epoch" if low == 1 else "the two epochs between which a start lies"
        raise AusamError(
            f"the budget of {study.path}, {budget:,.0f} sample passes, does not pay for {fewest} "
            f"of arm {arm.name}, which cost{'s' if low == 1 else ''} {cost(low):,.0f}"
        )
    high = low + 1
    while cost(high) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    return min((low, high), key=lambda epochs: abs(cost(epochs) - budget))
