"""Weights from elsewhere into a quantized network: of a float network, or of one of other bits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ausam_core.errors import AusamError
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import is_step

_PREFIXES = ("module.", "_orig_mod.", "net.", "body.", "model.")
"""What wrappers, a classifier and a quantized network put before the names of a float network."""


@torch.no_grad()
def load_weights(
    network: QuantizedNetwork, state: Mapping[str, Tensor], source: str = "the state"
) -> None:
    """Load weights and running statistics, all or none, and choose the weights' steps for them.

    The steps of activations are 0 afterwards: calibrate. So a network goes from 4 bits to 2 with
    steps that are best for 2, not with those of 4.

    Args:
        network: converted from the same architecture.
        state: the state dict of the float network, as torchvision, timm or a bare ``torch.save``
            give it; of a model that holds it as ``net``; or of a quantized network of any bits.
        source: how messages call the state.

    Raises:
        AusamError: where names or shapes do not fit, and for values that are not finite.
    """
    wanted = {
        name.removeprefix("body."): value
        for name, value in network.state_dict().items()
        if name != "grids" and not is_step(name)
    }
    found = weights_in(state, wanted)
    _compare(found, wanted, network.unused, source)
    for name, value in wanted.items():
        if name in found:
            value.copy_(found[name])
    for _, layer in network.layers():
        layer.restart_step()
    for quantizer in network.activations().values():
        quantizer.step.zero_()


def weights_in(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a state dict, under the names of the float network.

    Prefixes are taken off where they are no part of the names that are wanted.
    """
    found = {
        name: value
        for name, value in state.items()
        if isinstance(value, Tensor) and not is_step(name)
    }
    while not wanted.keys() & found.keys():
        prefix = next((p for p in _PREFIXES if any(name.startswith(p) for name in found)), None)
        if prefix is None:
            break
        # what lies beside the network in a model (a preprocessor's mean) is no part of it
        found = {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}
    return {name: value for name, value in found.items() if name != "grids"}


def _compare(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], unused: frozenset[str], source: str
) -> None:
    missing = [n for n in wanted if n not in found and not n.endswith("num_batches_tracked")]
    surplus = [n for n in found if n not in wanted and n not in unused]
    if missing or surplus:
        first = f"has no {missing[0]}" if missing else f"has {surplus[0]}, which is not in it"
        raise AusamError(
            f"{source} is of another architecture: it {first} ({len(missing)} missing, "
            f"{len(surplus)} unexpected); name one of the same network"
        )
    for name, value in wanted.items():
        if name in found and found[name].shape != value.shape:
            last = [n for n in wanted if n.endswith("weight")][-1]
            what = "number of classes" if name == last else "width"
            raise AusamError(
                f"{source} has another {what}: {name} is {list(found[name].shape)} there and "
                f"{list(value.shape)} here; name one of the same network"
            )
    broken = [name for name, value in found.items() if not value.isfinite().all()]
    if broken:
        raise AusamError(f"{source} has values in {broken[0]} that are not finite")
