"""The float weights that training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import is_step

PREFIX = "net."
"""What the names of the network's weights begin with in a classifier's checkpoint."""


def load_float(network: QuantizedNetwork, path: str | Path) -> None:
    """Load the weights of a float classifier into a converted network, all or none.

    Args:
        network: converted from the same architecture.
        path: a checkpoint of ``tools/train.py``, or a bare state dict of the classifier.

    Raises:
        AusamError: for a file that is missing or truncated, for one of another architecture or
            number of classes, and for one that is quantized already.
    """
    check_checkpoint(path)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    found = network_weights(checkpoint.get("state_dict", checkpoint), path)
    wanted = {
        name.removeprefix("body."): value
        for name, value in network.state_dict().items()
        if not is_step(name)
    }
    _compare(found, wanted, path)
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(found[name])


def network_weights(state: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The network's part of a float classifier's state dict, without its prefix."""
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if any(name.startswith(f"{PREFIX}body.") for name in state):
        raise AusamError(
            f"{path} is quantized already; go on from it with load_from, or name the float one in "
            "model.float_checkpoint"
        )
    return {n.removeprefix(PREFIX): v for n, v in state.items() if n.startswith(PREFIX)}


def _compare(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path) -> None:
    missing = [name for name in wanted if name not in found]
    surplus = [name for name in found if name not in wanted]
    if missing or surplus:
        first = f"has no {missing[0]}" if missing else f"has {surplus[0]}, which is not in it"
        raise AusamError(
            f"the float checkpoint {path} is of another architecture: it {first} ({len(missing)} "
            f"missing, {len(surplus)} unexpected); name one that was trained with the same "
            "model.net"
        )
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            what = "number of classes" if name.startswith("fc.") else "width"
            raise AusamError(
                f"the float checkpoint {path} has another {what}: {name} is "
                f"{list(found[name].shape)} there and {list(value.shape)} here; name one that was "
                "trained with the same model.net"
            )
    broken = [name for name, value in found.items() if not value.isfinite().all()]
    if broken:
        raise AusamError(
            f"the float checkpoint {path} has values in {broken[0]} that are not finite"
        )
