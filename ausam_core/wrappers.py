"""What others put around a model or an optimizer, and the way through it.

DDP, ``torch.compile`` and activation checkpointing put a prefix before every parameter's name;
Accelerate, Lightning and ZeRO put an object of their own around the optimizer. Nothing here is
remembered: a model may be wrapped after a method was built around it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

# Class name → the attribute that holds the wrapped module.
_MODEL_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
    "_FabricModule": "_forward_module",
}
_OPTIMIZER_ATTRIBUTES = ("optimizer", "_optimizer", "optim", "base_optimizer")
_OPTIMIZER_LISTS = ("optimizers", "chained_optimizers")
_SCALER_ATTRIBUTES = ("scaler", "grad_scaler", "loss_scaler", "_scaler")


def wrapped_attribute(module: nn.Module) -> str | None:
    """Name of the attribute that holds what a wrapper wraps; None for any other module."""
    for cls in type(module).__mro__:
        attribute = _MODEL_WRAPPERS.get(cls.__name__)
        if attribute is not None and attribute in module._modules:
            return attribute
    return None


def layers_of_wrapping(model: nn.Module) -> Iterator[nn.Module]:
    """The model, then what it wraps, down to the user's module."""
    while True:
        yield model
        attribute = wrapped_attribute(model)
        if attribute is None:
            return
        model = model._modules[attribute]  # type: ignore[assignment]


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's module within all wrappers."""
    *_, innermost = layers_of_wrapping(model)
    return innermost


def clean_module_names(model: nn.Module) -> dict[str, str]:
    """Each module's name with wrappers' prefixes → without them, at any depth."""
    names = {"": ""}
    wrapping = {"": wrapped_attribute(model)}
    for name, module in model.named_modules():
        if not name:
            continue
        parent, _, own = name.rpartition(".")
        above = names[parent]
        names[name] = above if wrapping[parent] == own else f"{above}.{own}" if above else own
        wrapping[name] = wrapped_attribute(module)
    return names


def parameter_names(model: nn.Module) -> dict[nn.Parameter, str]:
    """Name of each parameter, without wrappers' prefixes; the first one where it has several."""
    modules = clean_module_names(model)
    found: dict[nn.Parameter, str] = {}
    for name, parameter in model.named_parameters():
        parent, _, own = name.rpartition(".")
        above = modules.get(parent, parent)
        found[parameter] = f"{above}.{own}" if above else own
    return found


def is_compiled(model: nn.Module) -> bool:
    """Whether the model or a part of it is compiled by ``torch.compile``."""
    return any(
        type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) is not None
        for m in model.modules()
    )


def is_sharded_by_fsdp1(model: nn.Module) -> bool:
    """Whether FSDP's first generation holds a part of the model, seen from within or without."""
    return any(
        any(cls.__name__ == "FullyShardedDataParallel" for cls in type(m).__mro__)
        for m in model.modules()
    ) or any(getattr(p, "_fsdp_flattened", False) for p in model.parameters())


def is_optimizer(value: Any) -> bool:
    """Whether something can be used as an optimizer: torch's, or a wrapper that passes for one."""
    return all(hasattr(value, name) for name in ("param_groups", "step", "zero_grad"))


def inner_optimizers(optimizer: Any) -> list[Any]:
    """The optimizers that do the work within wrappers and chains; the optimizer itself if bare."""
    for name in _OPTIMIZER_LISTS:
        several = getattr(optimizer, name, None)
        if isinstance(several, (list, tuple)) and several and all(map(is_optimizer, several)):
            return [inner for one in several for inner in inner_optimizers(one)]
    for name in _OPTIMIZER_ATTRIBUTES:
        one = getattr(optimizer, name, None)
        if one is not None and one is not optimizer and is_optimizer(one):
            return inner_optimizers(one)
    return [optimizer]


def shards_its_state(optimizer: Any) -> bool:
    """Whether a rank holds the state of some parameters only, as with ZeRO."""
    return any(cls.__name__ == "ZeroRedundancyOptimizer" for cls in type(optimizer).__mro__)


def needs_closure(optimizer: Any) -> bool:
    """Whether ``step`` wants a closure, as LBFGS does."""
    for inner in inner_optimizers(optimizer):
        closure = inspect.signature(type(inner).step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            return True
    return False


def scaler_within(optimizer: Any) -> Any:
    """The enabled loss scaler that a wrapped optimizer steps through, or None."""
    strategy = getattr(optimizer, "_strategy", None)  # Lightning
    holders = [optimizer, getattr(strategy, "precision_plugin", None)]
    for holder in holders:
        for name in _SCALER_ATTRIBUTES:
            scaler = getattr(holder, name, None)
            if scaler is not None and hasattr(scaler, "is_enabled") and scaler.is_enabled():
                return scaler
    return None
