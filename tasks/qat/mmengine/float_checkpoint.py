"""The weights that training starts from, out of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint
from tasks.qat.network import QuantizedNetwork
from tasks.qat.weights import load_weights


def load_float(network: QuantizedNetwork, path: str | Path) -> None:
    """Load the weights of a float classifier, or of a quantized one of other bits; all or none.

    Args:
        network: converted from the same architecture.
        path: a checkpoint of ``tools/train.py``, or a bare state dict of the classifier or of its
            network.

    Raises:
        AusamError: for a file that is missing or truncated, for one of another architecture or
            number of classes, and for a quantized one of the same bits.
    """
    check_checkpoint(path)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, Mapping):
        raise AusamError(f"{path} holds a {type(checkpoint).__name__} and no weights by name")
    state = checkpoint.get("state_dict", checkpoint)
    grids = next((value for name, value in state.items() if name.endswith("grids")), None)
    same = grids is not None and torch.equal(grids.cpu(), network.grids.cpu())
    old = grids is None and any(name.startswith("net.body.") for name in state)
    if same or old:
        raise AusamError(
            f"{path} is quantized already, to the same bits; go on from it with load_from, or name "
            "the float one in model.float_checkpoint"
        )
    load_weights(network, state, f"the float checkpoint {path}")
