"""The method and the selection of an arm, tried before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD

from ausam_core import methods
from ausam_core.errors import AusamError
from ausam_core.methods import Method
from ausam_core.mmengine import build_selection
from ausam_core.mmengine.build import build_method, check_method
from ausam_core.selection import GradientNormSelection


def check_axes(method: Mapping[str, Any], selection: Mapping[str, Any]) -> None:
    """Refuse settings with which a run would end, and those that budgets would not see.

    Raises:
        AusamError: for an unknown type, setting or value; for a start that the arm does not know
            of; for a selection that the method never shows what it learns from.
    """
    check_method(method)
    chosen = build_selection(selection, num_samples=1)
    for axis, config in (("method", method), ("selection", selection)):
        if "start" in config:
            raise AusamError(
                f"its {axis} has start={config['start']!r}, which its budget would not count; say "
                f"start={config['start']!r} of the arm, where it holds for both"
            )
    built = _built(method)
    if built is not None and not built.perturbs and isinstance(chosen, GradientNormSelection):
        raise AusamError(
            f"{type(chosen).__name__} learns from a perturbation, and {type(built).__name__} makes "
            "none; take a SAM method, or EL2NSelection or UniformSelection"
        )


def _built(config: Mapping[str, Any]) -> Method | None:
    """The method around a model of two numbers: its constructor knows which values are wrong."""
    if config["type"] not in methods.__all__:
        return None  # a user's own may want more of its model
    settings = {k: v for k, v in config.items() if k != "exclude"}  # patterns name real parameters
    model = nn.Linear(1, 1)
    try:
        return build_method(settings, SGD(model.parameters(), lr=0.1), model)
    except TypeError as error:
        raise AusamError(f"{config['type']} cannot be built of {settings}: {error}") from error
