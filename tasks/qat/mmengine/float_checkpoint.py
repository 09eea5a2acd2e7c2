"""The weights that training starts from, out of a checkpoint."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint
from tasks.qat.steps import is_step
from tasks.qat.weights import load_weights, weights_in


def load_float(model: Any, path: str | Path) -> None:
    """Load the weights of a float model, or of a quantized one of other bits; all or none.

    A teacher gets the same weights, or those of its own checkpoint.

    Args:
        model: a quantized one, of the same architecture.
        path: a checkpoint of ``tools/train.py``; a bare state dict of the model or of its
            network; or ``.npz``, arrays by the names of the network.

    Raises:
        AusamError: for a file that is missing or truncated, for one of another architecture or
            number of classes, for a quantized one of the same bits, and for a teacher that is not
            float.
    """
    state = read_state(path)
    grids = next((value for name, value in state.items() if name.endswith("grids")), None)
    same = grids is not None and torch.equal(grids.cpu(), model.net.grids.cpu())
    steps = any(is_step(name) for name in state)
    if same or (steps and grids is None):
        raise AusamError(
            f"{path} is quantized already, to the same bits; go on from it with load_from, or name "
            "the float one in model.float_checkpoint"
        )
    load_weights(model.net, state, f"the float checkpoint {path}")
    if getattr(model, "teacher", None) is None:
        return
    source = model.teacher_checkpoint or path
    state = read_state(source)
    if any(is_step(name) for name in state):
        raise AusamError(
            f"the teacher's weights would come from {source}, which is quantized; name a float "
            "checkpoint in model.distillation.checkpoint"
        )
    model.teacher.load_state_dict(weights_in(state, model.teacher.state_dict()), strict=False)


def read_state(path: str | Path) -> Mapping[str, Tensor]:
    """The state dict that a file holds.

    Raises:
        AusamError: for a file that is missing, truncated, or holds no weights by name.
    """
    check_checkpoint(path)
    if Path(path).suffix == ".npz":
        try:
            with np.load(path) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        except (ValueError, zipfile.BadZipFile) as error:
            raise AusamError(f"{path} cannot be read as arrays by name ({error})") from error
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, Mapping):
        raise AusamError(f"{path} holds a {type(checkpoint).__name__} and no weights by name")
    return checkpoint.get("state_dict", checkpoint)
