"""Make a checkpoint of a classifier from weights that somebody published.

    python tools/import_weights.py resnet20-12fca82f.th data/checkpoints/resnet20_cifar10.pth

Reads a torch file (a state dict, alone or under ``state_dict``) or named arrays (``.npz``). Names
must be those of this project's network of the same architecture, after a leading ``module.``.
"""

from __future__ import annotations

import argparse
import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch
from _common import run_tool
from _start import require_place
from torch import Tensor

from ausam_core.errors import AusamError

# What NumPy and torch raise for a file that is missing, cut off, or something else.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        AusamError: for a file that is missing or holds no weights.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AusamError(f"{path} holds no weights that can be read: {reason}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise AusamError(f"{path} holds no state dict, but {type(loaded).__name__}")
    return state


def main(argv: list[str] | None = None) -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="published file, .npz or a torch file")
    parser.add_argument("checkpoint", type=Path, help="what to write")
    args = parser.parse_args(argv)
    if args.checkpoint.exists():
        raise AusamError(f"{args.checkpoint} exists; choose another name or remove it")
    require_place(args.checkpoint, "the checkpoint")
    state = {name.removeprefix("module."): w for name, w in read_weights(args.weights).items()}
    for name in [name for name in state if name.endswith("running_mean")]:
        counter = name.replace("running_mean", "num_batches_tracked")
        state.setdefault(counter, torch.zeros((), dtype=torch.int64))
    args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # A Classifier keeps its network under `net`.
    torch.save({"state_dict": {f"net.{name}": w for name, w in state.items()}}, args.checkpoint)
    print(f"wrote {args.checkpoint}: {len(state)} tensors")


if __name__ == "__main__":
    run_tool(main)
