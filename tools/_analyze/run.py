"""A trained model from its checkpoint alone: the configuration stands in it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _start import check_weights, read_weights
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope

from ausam_core.errors import AusamError


@dataclass(frozen=True)
class Run:
    """A checkpoint of ``tools/train.py`` that was read.

    Attributes:
        path: the file.
        cfg: configuration of the run.
        model: its model, in evaluation mode.
        epoch: epochs that it was trained.
        selection: what its selection remembered, or None where none was at work.
    """

    path: Path
    cfg: Config
    model: BaseModel
    epoch: int
    selection: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        """What pictures call the run: its folder."""
        return self.path.resolve().parent.name

    def scores(self) -> Mapping[str, Any]:
        """The table of scores.

        Raises:
            AusamError: where the run kept none.
        """
        if not self.selection or "scores" not in self.selection:
            raise AusamError(
                f"{self.path} holds no scores; give a checkpoint of a run with a "
                "GradientNormSelection or EL2NSelection"
            )
        return self.selection["scores"]


def load_run(path: Path, options: Mapping[str, Any] | None = None) -> Run:
    """Read a checkpoint and build its model.

    Args:
        path: the checkpoint.
        options: settings to override, as ``--cfg-options``; where the data is, for example.

    Raises:
        AusamError: for a file that is missing or truncated, without a configuration, or whose
            weights do not fit it.
    """
    read_weights(path)  # refuses what is no checkpoint
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    meta = checkpoint.get("meta") or {}
    if not meta.get("cfg"):
        raise AusamError(f"{path} holds no configuration; give a checkpoint of tools/train.py")
    cfg = Config.fromstring(meta["cfg"], ".py")
    cfg.merge_from_dict(dict(options or {}))
    for name in cfg.get("custom_imports", {}).get("imports", []):
        importlib.import_module(name)
    init_default_scope(cfg.get("default_scope", "mmengine"))
    model = MODELS.build(cfg.model)
    check_weights(model, path, "its own configuration, as --cfg-options has changed it")
    _, unexpected = model.load_state_dict(checkpoint["state_dict"], strict=False)
    if unexpected:
        raise AusamError(
            f"{path} does not fit its own configuration: the model has no {unexpected[0]}; the "
            "checkpoint was put together by hand"
        )
    selection = (checkpoint.get("ausam") or {}).get("selection")
    return Run(path, cfg, model.eval(), int(meta.get("epoch", 0)), selection)


def by_folder(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Checkpoints of one run together, in the order of their epochs.

    Raises:
        AusamError: where two folders have one name.
    """
    folders: dict[str, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.resolve().parent.name, []).append(path)
    for name, files in folders.items():
        if len({file.resolve().parent for file in files}) > 1:
            raise AusamError(f"two folders of the checkpoints are called {name}; rename one")
        files.sort(key=_epoch_of)
    return folders


def _epoch_of(path: Path) -> tuple[int, str]:
    number = path.stem.rpartition("_")[2]
    return (int(number) if number.isdigit() else 0, path.stem)
