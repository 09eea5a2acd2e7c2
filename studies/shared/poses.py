"""What the studies of poses compare."""

from __future__ import annotations

from typing import Any

HALF = dict(type="UniformSelection", alpha=0.5)
AUSAM = dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0)


def rate(times: float) -> dict[str, float]:
    """The options of an arm at `times` the rate of 0.006."""
    return {"optim_wrapper.optimizer.lr": times * 6e-3}


def adam(times: float) -> dict[str, Any]:
    """An arm of Adam at `times` the rate of 0.006."""
    return dict(label=f"Adam, rate {times * 6e-3:g}", options=rate(times))


def arms_at(rho: float) -> dict[str, dict[str, Any]]:
    """The arms that are tried where the network fits its persons.

    Args:
        rho: radius of SAM.
    """
    sam = dict(type="SAM", rho=rho)
    return {
        "adam": dict(label="Adam"),
        "late_sam": dict(label="SAM, last quarter", method=sam, start=0.75),
        "late_random": dict(
            label="random half, last quarter", method=sam, selection=HALF, start=0.75
        ),
        "late_ausam": dict(label="AUSAM, last quarter", method=sam, selection=AUSAM, start=0.75),
        # Half batches without a perturbation.
        "late_quarter_adam": dict(
            label="Adam on a random half, last quarter", selection=HALF, start=0.75
        ),
        # As many epochs as Adam, as papers compare; and Adam for the same cost.
        "sam_2": dict(label="SAM, as many epochs", method=sam, times=2),
        "adam_2": dict(label="Adam, twice the epochs", times=2),
    }
