"""Methods and selections from configs, and the registries that take a user's own.

    >>> @METHODS.register_module()
    ... class MyMethod(SAM):
    ...     def gradient(self, passes): ...
    >>> optim_wrapper = dict(type="SAMOptimWrapper", method=dict(type="MyMethod"), optimizer=...)

A class itself will do as well: ``method=dict(type=MyMethod)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import Registry
from torch import nn

from ausam_core import methods, selection
from ausam_core.errors import AusamError
from ausam_core.methods import Method
from ausam_core.selection import Selection

METHODS = Registry("method", scope="ausam")
"""Ways to turn a batch into an update, by name."""

SELECTIONS = Registry("selection", scope="ausam")
"""Ways to choose the samples of a batch, by name."""

# What a config cannot set: the run gives it.
_GIVEN = {"self", "args", "kwargs", "optimizer", "model", "num_samples", "scores"}

for _registry, _module, _base in ((METHODS, methods, Method), (SELECTIONS, selection, Selection)):
    for _name in _module.__all__:
        _class = getattr(_module, _name)
        if isinstance(_class, type) and issubclass(_class, _base) and _class is not _base:
            _registry.register_module(module=_class)


def build_method(
    config: Mapping[str, Any], optimizer: Any, model: nn.Module, **given: Any
) -> Method:
    """A method from ``dict(type='SAM', rho=0.05)``.

    Args:
        config: type (a registered name, or a class) and settings.
        optimizer, model: what the method works on.
        **given: what the run gives, such as the scaler.

    Raises:
        AusamError: for an unknown type (lists those there are) or an unknown setting, and for a
            class that does not take what the run has.
    """
    cls, settings = _class_of(config, METHODS, Method)
    accepted = _settings_of(cls)
    missed = [name for name, value in given.items() if value is not None and name not in accepted]
    if missed:
        raise AusamError(
            f"{cls.__name__} does not take {', '.join(missed)}, which this run gives; let its "
            "constructor take **kwargs and hand them on to that of its base class"
        )
    given = {name: value for name, value in given.items() if name in accepted}
    return cls(optimizer, model, **{**given, **settings})


def build_selection(config: Mapping[str, Any] | Selection, num_samples: int) -> Selection:
    """A selection from ``dict(type='GradientNormSelection', alpha=0.5)``; one that is built stays.

    Raises:
        AusamError: for an unknown type (lists those there are) or an unknown setting.
    """
    if isinstance(config, Selection):
        return config
    cls, settings = _class_of(config, SELECTIONS, Selection)
    if "num_samples" in inspect.signature(cls).parameters:
        return cls(num_samples, **settings)
    return cls(**settings)


def check_method(config: Mapping[str, Any]) -> None:
    """Refuse an unknown type or setting before there is a model to build the method around."""
    _class_of(config, METHODS, Method)


def _class_of(
    config: Mapping[str, Any], registry: Registry, base: type
) -> tuple[type, dict[str, Any]]:
    if not isinstance(config, Mapping):
        raise AusamError(
            f"a {registry.name} is given as dict(type=…, …), found {type(config).__name__}"
        )
    settings = dict(config)
    kind = settings.pop("type", None)
    cls = kind if isinstance(kind, type) else _registered(kind, registry)
    if cls is None or not issubclass(cls, base):
        known = ", ".join(sorted(registry.module_dict))
        name = kind.__name__ if isinstance(kind, type) else repr(kind)
        raise AusamError(
            f"there is no {registry.name} {name}; there are {known}, and what is registered with "
            f"@{registry.name.upper()}S.register_module() or given as a class derived from "
            f"{base.__name__}"
        )
    accepted = _settings_of(cls)
    unknown = sorted(settings.keys() - accepted)
    if accepted and unknown:
        raise AusamError(
            f"{cls.__name__} has no setting {', '.join(unknown)}; it has "
            f"{', '.join(sorted(accepted))}"
        )
    return cls, settings


def _registered(name: Any, registry: Registry) -> type | None:
    if not isinstance(name, str):
        return None
    known = registry.module_dict.get(name)
    if known is None and "." in name:  # a full path, as a dumped config has it
        known = registry.get(name)
    return known


def _settings_of(cls: type) -> set[str]:
    """Names that the constructor takes, along the classes that hand on ``**kwargs``."""
    found: set[str] = set()
    for owner in cls.__mro__:
        if "__init__" not in vars(owner) or owner is object:
            continue
        parameters = inspect.signature(vars(owner)["__init__"]).parameters
        found |= parameters.keys()
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            break
    return found - _GIVEN
