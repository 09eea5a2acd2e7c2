"""The configuration of a run: the study's, with arm, seed and budget entered."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from _common import ROOT, load_config
from mmengine.config import Config

from _study.budget import epochs_for
from _study.study import Arm, Study
from ausam_core.errors import AusamError

_WRAPPERS = {"OptimWrapper": "SAMOptimWrapper", "AmpOptimWrapper": "SAMAmpOptimWrapper"}
# What a run says of itself, and where it lies, change no result.
_NOT_IN_DIGEST = (
    "work_dir",
    "launcher",
    "log_level",
    "log_processor",
    "visualizer",
    "vis_backends",
)


def configure(study: Study, arm: Arm, seed: int) -> Config:
    """The configuration of one run, of as many epochs as the arm's budget pays for.

    Raises:
        AusamError: where the budget is too small, or the arm sets what the config does not have.
    """
    cfg = copy.deepcopy(_read(str(ROOT / study.config)))
    _check_options(study, arm, cfg)
    cfg.merge_from_dict(dict(arm.options))
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    cfg.optim_wrapper.type = _WRAPPERS.get(kind, kind)
    cfg.optim_wrapper.method = dict(arm.method)
    loader = cfg.train_dataloader
    loader.batch_sampler = dict(type="SelectiveBatchSampler", selection=dict(arm.selection))
    hooks = [hook for hook in cfg.get("custom_hooks", []) if hook["type"] != "AUSAMHook"]
    late = dict(start=arm.start) if arm.start else {}
    cfg.custom_hooks = [*hooks, dict(type="AUSAMHook", **late)]
    cfg.randomness = dict(cfg.get("randomness") or {}, seed=seed)
    _set_length(cfg, epochs_for(study, arm, loader.batch_size))
    return cfg


def digest_of(cfg: Config) -> str:
    """What two runs of the same configuration have in common, wherever the repository lies."""
    settings = {k: v for k, v in cfg.to_dict().items() if k not in _NOT_IN_DIGEST}
    settings.get("default_hooks", {}).pop("logger", None)
    text = json.dumps(settings, sort_keys=True, default=str).replace(str(ROOT), "")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _read(path: str) -> Config:
    return load_config(path)


def _check_options(study: Study, arm: Arm, cfg: Config) -> None:
    """An option that the config does not have would be entered and never read."""
    for option in arm.options:
        node: Any = cfg
        for part in option.split("."):
            index = int(part) if isinstance(node, (list, tuple)) and part.isdigit() else part
            try:
                node = node[index]
            except (KeyError, IndexError, TypeError):
                raise AusamError(
                    f"arm {arm.name} of {study.path} sets {option}, which {study.config} does not "
                    "have"
                ) from None


def _set_length(cfg: Config, epochs: int) -> None:
    """Stretch the schedule to so many epochs; evaluate and save once, at the end."""
    factor = epochs / cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = cfg.train_cfg.val_interval = epochs
    stretched = (_stretch(scheduler, factor) for scheduler in cfg.get("param_scheduler") or [])
    # A warm-up of less than half an epoch has no epoch left.
    cfg.param_scheduler = [s for s in stretched if s.get("begin", 0) < s.get("end", math.inf)]
    cfg.default_hooks.checkpoint.update(interval=epochs, save_best=None, max_keep_ckpts=1)


def _stretch(scheduler: Mapping[str, Any], factor: float) -> dict[str, Any]:
    changed = dict(scheduler)
    for key in ("begin", "end"):
        if key in changed:
            changed[key] = round(changed[key] * factor)
    if "T_max" in changed:
        changed["T_max"] = max(1, round(changed["T_max"] * factor))
    if "milestones" in changed:
        changed["milestones"] = [max(1, round(m * factor)) for m in changed["milestones"]]
    return changed
