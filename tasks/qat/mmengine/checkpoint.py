"""A trained quantized model from its checkpoint alone: the configuration stands in it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint

DATA = {
    "QuantizedClassifier": "tasks.qat.mmengine.classification_data",
    "QuantizedPoseEstimator": "tasks.qat.mmengine.pose.data",
}
"""For each model the module that knows its data."""


def load_quantized(path: str | Path, options: Mapping[str, Any] | None = None) -> Any:
    """Build the quantized model that a checkpoint of ``tools/train.py`` holds, in evaluation mode.

    Args:
        path: the checkpoint.
        options: settings to override, as ``--cfg-options``; where the data is, for example.

    Returns:
        A ``QuantizedClassifier`` or a ``QuantizedPoseEstimator``; ``cfg`` is its configuration.

    Raises:
        AusamError: for a file that is missing or truncated, without a configuration, with another
            kind of model, or whose weights do not fit it.
    """
    check_checkpoint(path)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    text = (checkpoint.get("meta") or {}).get("cfg")
    if not text:
        raise AusamError(f"{path} holds no configuration; give a checkpoint of tools/train.py")
    cfg = Config.fromstring(text, ".py")
    cfg.merge_from_dict(dict(options or {}))
    for name in cfg.get("custom_imports", {}).get("imports", []):
        importlib.import_module(name)
    if cfg.model.type not in DATA:
        raise AusamError(
            f"{path} holds a {cfg.model.type}, not a quantized network; train one with a config of "
            "configs/qat"
        )
    init_default_scope(cfg.get("default_scope", "mmengine"))
    model = MODELS.build({**cfg.model, "from_scratch": False})  # weights are in the checkpoint
    weights = checkpoint["state_dict"]
    for name, here in model.state_dict().items():
        if name in weights and weights[name].shape != here.shape:
            raise AusamError(
                f"the weights in {path} do not fit its configuration: {name} is "
                f"{tuple(weights[name].shape)} in it and {tuple(here.shape)} in the network; was a "
                "size changed with --cfg-options?"
            )
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if missing or unexpected:
        raise AusamError(
            f"the weights in {path} do not fit its configuration: {(missing + unexpected)[0]} is "
            f"{'missing' if missing else 'too many'}; the checkpoint was put together by hand"
        )
    model.net.check_steps()
    model.cfg = cfg
    return model.eval()


def data_of(model: Any) -> ModuleType:
    """The module with ``test_batches`` and ``data_facts`` for a model of :func:`load_quantized`."""
    return importlib.import_module(DATA[model.cfg.model.type])


def is_pose(model: Any) -> bool:
    """Whether a model of :func:`load_quantized` finds joints, and no classes."""
    return model.cfg.model.type == "QuantizedPoseEstimator"
