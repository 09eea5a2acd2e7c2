"""A trained model from its checkpoint alone: the configuration stands in it."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _common import apply_options, check_task
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
        epoch, iteration: how long it was trained.
        selection: what its selection remembered, or None where none was at work.
    """

    path: Path
    cfg: Config
    model: BaseModel
    epoch: int
    iteration: int
    selection: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        """What pictures call the run: its folder."""
        return self.path.resolve().parent.name

    def check_weights(self) -> None:
        """Refuse what cannot be differentiated.

        Raises:
            AusamError: for a weight that is NaN or infinite.
        """
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise AusamError(
                    f"{self.path} holds weights that are not finite ({name}): its training "
                    "diverged; give a checkpoint from before"
                )

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
            weights do not fit it; and where options do not fit the configuration or the data.
    """
    checkpoint = _read(path)
    meta = checkpoint.get("meta") or {}
    if not meta.get("cfg"):
        raise AusamError(f"{path} holds no configuration; give a checkpoint of tools/train.py")
    cfg = Config.fromstring(meta["cfg"], ".py")
    apply_options(cfg, options, path)
    for name in cfg.get("custom_imports", {}).get("imports", []):
        importlib.import_module(name)
    if options:  # what the checkpoint says was checked when it was trained
        _check_training_data(cfg)
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
    return Run(path, cfg, model.eval(), *_step_of(checkpoint), selection)


def _check_training_data(cfg: Config) -> None:
    """Analyses look at the training samples alone."""
    seen = copy.deepcopy(cfg)
    seen.val_dataloader = seen.test_dataloader = None
    check_task(seen)


def by_folder(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Checkpoints of one run together, in the order of training.

    Raises:
        AusamError: where two folders have one name, and where two checkpoints of a run are of the
            same step, as the best and the last may be.
    """
    folders: dict[str, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.resolve().parent.name, []).append(path)
    for name, files in folders.items():
        if len({file.resolve().parent for file in files}) > 1:
            raise AusamError(f"two folders of the checkpoints are called {name}; rename one")
        if len(files) > 1:
            files[:] = _in_order(files)
    return folders


def _in_order(files: Sequence[Path]) -> list[Path]:
    held: dict[tuple[int, int], Path] = {}
    for file in files:
        step = _step_of(_read(file))
        if step in held:
            raise AusamError(
                f"{held[step]} and {file.name} are both of epoch {step[0]} of one run; give one of "
                "them"
            )
        held[step] = file
    return [held[step] for step in sorted(held)]


def _read(path: Path) -> Mapping[str, Any]:
    read_weights(path)  # refuses what is no checkpoint
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _step_of(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Epochs and iterations that were trained."""
    meta = checkpoint.get("meta") or {}
    return int(meta.get("epoch") or 0), int(meta.get("iter") or 0)
