"""Methods and selections from configs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ausam_core import methods, selection
from ausam_core.errors import AusamError
from ausam_core.methods import Method
from ausam_core.selection import Selection

_NOT_IN_CONFIG = ("Method", "StepResult", "Selection", "Batch")


def build_method(
    config: Mapping[str, Any], optimizer: torch.optim.Optimizer, model: nn.Module, **kwargs: Any
) -> Method:
    """A method from ``dict(type='SAM', rho=0.05)``.

    Raises:
        AusamError: for an unknown type (lists those there are) or an unknown argument.
    """
    cls, settings = _class_of(config, methods, "method")
    return cls(optimizer, model, **settings, **kwargs)


def build_selection(config: Mapping[str, Any], num_samples: int) -> Selection:
    """A selection from ``dict(type='GradientNormSelection', alpha=0.5)``.

    ``start_epoch=None``, or leaving it out, means 15 % of the run's epochs: the hook sets it, see
    :func:`set_start_epoch`.

    Raises:
        AusamError: for an unknown type (lists those there are) or an unknown argument.
    """
    cls, settings = _class_of(config, selection, "selection")
    automatic = "start_epoch" in inspect.signature(cls).parameters and (
        settings.get("start_epoch") is None
    )
    if automatic:
        settings.pop("start_epoch", None)
    built = (
        cls(num_samples, **settings)
        if "num_samples" in inspect.signature(cls).parameters
        else cls(**settings)
    )
    built.start_epoch_is_automatic = automatic
    return built


def set_start_epoch(chosen: Selection, max_epochs: int) -> None:
    """Give a selection whose config left it open its E_start: 15 % of the epochs, as 30 of 200."""
    if getattr(chosen, "start_epoch_is_automatic", False):
        chosen.start_epoch = max(1, round(0.15 * max_epochs))


def _class_of(config: Mapping[str, Any], module: Any, what: str) -> tuple[type, dict[str, Any]]:
    settings = dict(config)
    name = settings.pop("type", None)
    known = [n for n in module.__all__ if n not in _NOT_IN_CONFIG]
    if name not in known:
        raise AusamError(f"there is no {what} {name!r}; there are {', '.join(sorted(known))}")
    cls = getattr(module, name)
    accepted = {
        p
        for c in cls.__mro__
        if "__init__" in vars(c)
        for p in inspect.signature(c.__init__).parameters
    } - {"self", "args", "kwargs", "optimizer", "model", "num_samples"}
    unknown = sorted(settings.keys() - accepted)
    if unknown:
        raise AusamError(
            f"{name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(accepted))}"
        )
    return cls, settings
