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

_NOT_IN_CONFIG = ("Method", "StepResult", "Selection")


def build_method(
    config: Mapping[str, Any], optimizer: torch.optim.Optimizer, model: nn.Module, **kwargs: Any
) -> Method:
    """A method from ``dict(type='SAM', rho=0.05)``.

    Args:
        config: type and settings.
        optimizer, model: what the method works on.
        **kwargs: what the run knows: scaler, and ``total_steps`` for methods that count them.

    Raises:
        AusamError: for an unknown type (lists those there are) or an unknown argument.
    """
    cls, settings = _class_of(config, methods, "method")
    if "total_steps" not in inspect.signature(cls).parameters:
        kwargs.pop("total_steps", None)
    return cls(optimizer, model, **{**kwargs, **settings})


def build_selection(config: Mapping[str, Any], num_samples: int) -> Selection:
    """A selection from ``dict(type='GradientNormSelection', alpha=0.5)``.

    What counts epochs may be left open: the hook knows the run, see :func:`set_epochs`.

    Raises:
        AusamError: for an unknown type (lists those there are) or an unknown argument.
    """
    cls, settings = _class_of(config, selection, "selection")
    accepted = inspect.signature(cls).parameters
    left_open = [k for k in ("start_epoch", "epochs") if k in accepted and settings.get(k) is None]
    for name in left_open:
        settings.pop(name, None)
    built = cls(num_samples, **settings) if "num_samples" in accepted else cls(**settings)
    built.left_open = left_open
    return built


def set_epochs(chosen: Selection, max_epochs: int) -> None:
    """Give a selection what its config left open.

    E_start becomes 15 % of the epochs, as 30 of 200 in the authors' code; ``epochs`` all of them.
    """
    values = {"start_epoch": max(1, round(0.15 * max_epochs)), "epochs": max_epochs}
    for name in getattr(chosen, "left_open", []):
        setattr(chosen, name, values[name])


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
