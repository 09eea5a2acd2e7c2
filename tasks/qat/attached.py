"""What is attached to the layers of a network, and would be lost with its graph."""

from __future__ import annotations

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod

from ausam_core.errors import AusamError

_UTILS = "torch.nn.utils"
# by name: torch is about to drop these two
_REMOVERS = {
    "WeightNorm": f"{_UTILS}.remove_weight_norm(layer)",
    "SpectralNorm": f"{_UTILS}.remove_spectral_norm(layer)",
}


def check_attached(network: nn.Module) -> None:
    """Refuse hooks where a graph does not see them, and weights that are computed of others.

    The graph sees inside a module, with what its hooks do, unless it is a layer of ``torch.nn`` or
    the network itself.

    Raises:
        AusamError: names the layer, and how to be rid of it.
    """
    leaves = fx.Tracer()
    layers = (nn.Conv2d, nn.Linear, _BatchNorm)
    for name, module in network.named_modules():
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
            continue  # the hook that makes its weights; the layer is refused by its name
        label = f"layer {name}" if name else "the network"
        _check_computed(label, module)
        is_leaf = leaves.is_leaf_module(module, name) or isinstance(module, layers)
        hooks = [*module._forward_hooks, *module._forward_pre_hooks]
        if hooks and (is_leaf or module is network):
            raise AusamError(
                f"{label} ({type(module).__name__}) has a forward hook, which quantization would "
                "lose; remove it, or write what it does into the forward of the network"
            )


def _check_computed(label: str, module: nn.Module) -> None:
    if is_parametrized(module):
        (name, *_) = module.parametrizations
        remedy = f'{_UTILS}.parametrize.remove_parametrizations(layer, "{name}")'
        raise AusamError(_computed(label, name, remedy))
    for hook in module._forward_pre_hooks.values():
        name = getattr(hook, "_tensor_name", None) or getattr(hook, "name", "weight")
        if isinstance(hook, BasePruningMethod):
            raise AusamError(_computed(label, name, f'{_UTILS}.prune.remove(layer, "{name}")'))
        if type(hook).__name__ in _REMOVERS:
            raise AusamError(_computed(label, name, _REMOVERS[type(hook).__name__]))


def _computed(label: str, name: str, remedy: str) -> str:
    return (
        f"the {name} of {label} is computed of other tensors in each pass, and quantization needs "
        f"the one that is trained; make it one with {remedy}"
    )
