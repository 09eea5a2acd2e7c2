"""What the studies on small parts of CIFAR-10 compare."""

from __future__ import annotations

from typing import Any

HALF = dict(type="UniformSelection", alpha=0.5)
THREE_QUARTERS = dict(type="UniformSelection", alpha=0.75)
AUSAM = dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=0.5)
EL2N = dict(type="EL2NSelection", alpha=0.5, s_min=0.1, s_max=0.5)
KEPT = ("sgd", "sam", "random", "ausam", "late_sam", "late_random", "late_ausam", "sam_2")
"""The arms that noisy and larger data are tried with: those that matter at clean settings."""


def sgd(batch: int, rate: float, decay: float = 1e-3) -> dict[str, Any]:
    """An arm of SGD with settings of its own; a decay of 1e-3 is the paper's for ResNet-18."""
    label = f"batches of {batch}, rate {rate:g}"
    return dict(
        label=label if decay == 1e-3 else f"{label}, decay {decay:g}",
        options={
            "train_dataloader.batch_size": batch,
            "optim_wrapper.optimizer.lr": rate,
            "optim_wrapper.optimizer.weight_decay": decay,
        },
    )


def radii(*values: float) -> dict[str, dict[str, Any]]:
    """Arms of SAM of as many epochs as SGD, at twice the cost, one a radius."""
    return {
        f"rho_{str(value).replace('.', '_')}": dict(
            label=f"SAM, ρ = {value}", method=dict(type="SAM", rho=value), times=2
        )
        for value in values
    }


def arms_at(rho: float) -> dict[str, dict[str, Any]]:
    """All arms, on all three axes.

    Args:
        rho: radius of every method that has one.
    """
    sam = dict(type="SAM", rho=rho)
    looksam = dict(type="LookSAM", rho=rho, k=5)
    split = dict(type="SAM", rho=rho, ascent=1 / 3)
    return {
        "sgd": dict(label="SGD"),
        "sam": dict(label="SAM", method=sam),
        "random": dict(label="SAM on a random half", method=sam, selection=HALF),
        "ausam": dict(label="AUSAM", method=sam, selection=AUSAM),
        "late_sam": dict(label="SAM, last quarter", method=sam, start=0.75),
        "late_sam_half": dict(label="SAM, last half", method=sam, start=0.5),
        "late_random": dict(
            label="random half, last quarter", method=sam, selection=HALF, start=0.75
        ),
        "late_random_half": dict(
            label="random half, last half", method=sam, selection=HALF, start=0.5
        ),
        "late_ausam": dict(label="AUSAM, last quarter", method=sam, selection=AUSAM, start=0.75),
        "late_ausam_1": dict(
            label="AUSAM-1, last quarter",
            method=sam,
            selection=dict(AUSAM, estimate="latest"),
            start=0.75,
        ),
        "late_el2n": dict(
            label="half by EL2N, last quarter", method=sam, selection=EL2N, start=0.75
        ),
        "split": dict(label="¾ kept, ⅓ of it ascends", method=split, selection=THREE_QUARTERS),
        "split_ninth": dict(
            label="⁹⁄₁₀ kept, ⅑ of it ascends",
            method=dict(type="SAM", rho=rho, ascent=1 / 9),
            selection=dict(type="UniformSelection", alpha=0.9),
        ),
        "ausam_split": dict(
            label="¾ by AUSAM, ⅓ of it ascends", method=split, selection=dict(AUSAM, alpha=0.75)
        ),
        "late_split": dict(
            label="¾ kept, ⅓ ascends, last quarter",
            method=split,
            selection=THREE_QUARTERS,
            start=0.75,
        ),
        "ausam_1": dict(label="AUSAM-1", method=sam, selection=dict(AUSAM, estimate="latest")),
        "ausam_weighted": dict(
            label="AUSAM, importance weights", method=sam, selection=dict(AUSAM, importance=True)
        ),
        "looksam": dict(label="LookSAM-5", method=looksam),
        "ausam_looksam": dict(label="AUSAM × LookSAM-5", method=looksam, selection=AUSAM),
        # Chosen by the losses of the same step, so never out of date.
        "late_ksam": dict(
            label="hardest third (K-SAM), last half",
            method=dict(type="KSAM", rho=rho, gamma=1 / 3),
            start=0.5,
        ),
        "late_ksam_quarter": dict(
            label="hardest third (K-SAM), last quarter",
            method=dict(type="KSAM", rho=rho, gamma=1 / 3),
            start=0.75,
        ),
        "msam": dict(label="Momentum-SAM", method=dict(type="MSAM", rho=rho)),
        # At the radius that is its default.
        "msam_default": dict(label="Momentum-SAM, ρ = 0.3", method=dict(type="MSAM")),
        # What half batches do without a perturbation.
        "sgd_64": dict(label="SGD, batches of 64", options={"train_dataloader.batch_size": 64}),
        "late_half_sgd": dict(label="SGD on a random half, last half", selection=HALF, start=0.5),
        "late_quarter_sgd": dict(
            label="SGD on a random half, last quarter", selection=HALF, start=0.75
        ),
        "late_split_half": dict(
            label="¾ kept, ⅓ ascends, last half",
            method=split,
            selection=THREE_QUARTERS,
            start=0.5,
        ),
        # As many epochs as SGD, as papers compare; and SGD for the same cost.
        "sam_2": dict(label="SAM, as many epochs", method=sam, times=2),
        "sgd_2": dict(label="SGD, twice the epochs", times=2),
    }
