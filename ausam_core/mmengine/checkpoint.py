"""MMEngine's checkpoints under torch's safe loading, and whole ones told from truncated ones.

MMEngine 0.10.7 calls ``torch.load`` as it was before torch 2.6, when it unpickled anything; since
then resuming stops with an UnpicklingError. The classes that MMEngine itself stores are put on
torch's list of safe ones, and ``weights_only=True`` stays.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from ausam_core.errors import AusamError


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(..., weights_only=True)`` read what MMEngine stores: logs and NumPy
    arrays."""
    array = np._core if hasattr(np, "_core") else np.core
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            _statistic,
            np.ndarray,
            np.dtype,
            array.multiarray._reconstruct,
            array.multiarray.scalar,
            *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdU"},
        ]
    )


def _statistic(owner: Any, name: str) -> Any:
    """What ``getattr`` is in a checkpoint: pickle finds ``HistoryBuffer.mean`` and the like by it.

    The real one among the safe globals would open every attribute of every object to a file.
    """
    if owner is not HistoryBuffer or name not in ("min", "max", "current", "mean"):
        raise pickle.UnpicklingError(f"getattr({owner!r}, {name!r}) in a checkpoint is not safe")
    return getattr(owner, name)


# torch knows its safe globals by these names.
_statistic.__module__, _statistic.__name__, _statistic.__qualname__ = ("builtins", *["getattr"] * 2)


def check_checkpoint(path: str | Path) -> None:
    """Refuse a checkpoint that is missing or was cut off.

    Raises:
        AusamError: says so, and names the newest whole checkpoint beside it.
    """
    path = Path(path)
    if not path.is_file():
        raise AusamError(f"there is no checkpoint {path}{_instead(path)}")
    if not _is_whole(path):
        raise AusamError(
            f"the checkpoint {path} is truncated or damaged ({path.stat().st_size} bytes)"
            f"{_instead(path)}"
        )


def newest_whole_checkpoint(work_dir: str | Path) -> Path | None:
    """The newest checkpoint of a work directory that can be read to its end, or None.

    MMEngine's ``best_*`` files are passed over: they lack the optimizer, so no run can go on from
    them.
    """
    kept = [f for f in Path(work_dir).glob("*.pth") if not f.name.startswith("best_")]
    files = sorted(kept, key=lambda f: f.stat().st_mtime, reverse=True)
    return next((f for f in files if _is_whole(f)), None)


def _is_whole(path: Path) -> bool:
    # torch writes a zip archive, and a zip archive's directory is the last thing written.
    return zipfile.is_zipfile(path)


def _instead(path: Path) -> str:
    newest = newest_whole_checkpoint(path.parent) if path.parent.is_dir() else None
    if newest is None:
        return f"; there is no whole checkpoint in {path.parent}"
    return f"; the newest whole one is {newest}"
