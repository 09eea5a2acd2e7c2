"""The configuration of a run: the study's, with arm, seed and budget entered."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from _common import ROOT, load_config
from mmengine.config import Config

from _study.budget import epochs_for
from _study.schedule import stretch
from _study.study import Arm, Study
from _study.values import whole
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

_ONCE = "a study evaluates and saves once, at the end of a run"
_OF_THE_ARM = "say method=…, selection=… and start=… of the arm"
# What an option would set in vain, and what sets it instead.
_SET_ELSEWHERE = {
    "optim_wrapper.method": "say method=… of the arm",
    "train_dataloader.batch_sampler": "say selection=… of the arm",
    "randomness.seed": "say seeds=… of the study",
    "train_cfg.max_epochs": "how long a run is, the study's budget and times=… of the arm say",
    "train_cfg.val_interval": _ONCE,
    "default_hooks.checkpoint.interval": _ONCE,
    "default_hooks.checkpoint.save_best": _ONCE,
    "default_hooks.checkpoint.max_keep_ckpts": _ONCE,
    "work_dir": "name the folder with --work-dir",
    "launcher": "a run has one process",
}


def configure(study: Study, arm: Arm, seed: int) -> Config:
    """The configuration of one run, of as many epochs as the arm's budget pays for.

    Raises:
        AusamError: where the budget is too small, where the arm sets what the config does not have
            or what a study sets, or where the config is none that a study can lengthen.
    """
    cfg = copy.deepcopy(_read(str(ROOT / study.config)))
    _check_options(study, arm, cfg)
    cfg.merge_from_dict(dict(arm.options))
    _check_loop(study, arm, cfg)
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    cfg.optim_wrapper.type = _WRAPPERS.get(kind, kind)
    cfg.optim_wrapper.method = dict(arm.method)
    loader = cfg.train_dataloader
    loader.batch_sampler = dict(type="SelectiveBatchSampler", selection=dict(arm.selection))
    hooks = [hook for hook in cfg.get("custom_hooks", []) if hook["type"] != "AUSAMHook"]
    late = dict(start=arm.start) if arm.start else {}
    cfg.custom_hooks = [*hooks, dict(type="AUSAMHook", **late)]
    cfg.randomness = dict(cfg.get("randomness") or {}, seed=seed)
    _set_length(study, cfg, epochs_for(study, arm, loader.batch_size))
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
    """An option that the config does not have would be entered and never read, and one that a study
    sets would be overwritten."""
    for option, value in arm.options.items():
        for key, leaf in _leaves(option, value):
            for taken, instead in _SET_ELSEWHERE.items():
                if f"{key}.".startswith(f"{taken}."):
                    raise AusamError(
                        f"arm {arm.name} of {study.path} sets {key}, which a study sets; {instead}"
                    )
            if _is_of_the_hook(cfg, key, leaf):
                raise AusamError(
                    f"arm {arm.name} of {study.path} sets {key}, an AUSAMHook, which a study sets; "
                    f"{_OF_THE_ARM}"
                )
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


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """``{"a.b": {"c": 1}}`` is ``a.b.c``, 1."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, value


def _is_of_the_hook(cfg: Config, key: str, value: Any) -> bool:
    """Whether an option is about an AUSAMHook, which :func:`configure` brings itself."""
    first, _, rest = key.partition(".")
    if first != "custom_hooks":
        return False
    hooks = cfg.get("custom_hooks", [])
    position = rest.partition(".")[0]
    if position.isdigit() and int(position) < len(hooks):
        return hooks[int(position)].get("type") == "AUSAMHook" or value == "AUSAMHook"
    hooks = value if isinstance(value, (list, tuple)) else []
    return any(isinstance(hook, Mapping) and hook.get("type") == "AUSAMHook" for hook in hooks)


def _check_loop(study: Study, arm: Arm, cfg: Config) -> None:
    """A budget is in whole epochs of batches of one size."""
    loop = cfg.get("train_cfg") or {}
    if not isinstance(loop.get("max_epochs"), int):
        found = ", ".join(f"{key}={value!r}" for key, value in loop.items()) or "none"
        raise AusamError(
            f"{study.config} does not train by epochs (train_cfg: {found}), and a study makes runs "
            "of whole epochs; give it train_cfg=dict(by_epoch=True, max_epochs=…)"
        )
    size = (cfg.get("train_dataloader") or {}).get("batch_size")
    whole(f"train_dataloader.batch_size of {study.config} for arm {arm.name}", size, least=1)


def _set_length(study: Study, cfg: Config, epochs: int) -> None:
    """Stretch the schedule to so many epochs; evaluate and save once, at the end."""
    was = cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = cfg.train_cfg.val_interval = epochs
    stretched = [stretch(s, epochs, was, study.config) for s in _schedulers(study, cfg)]
    # A warm-up of less than half an epoch has no epoch left.
    cfg.param_scheduler = [s for s in stretched if s.get("begin", 0) < _end(s, epochs)]
    cfg.default_hooks.checkpoint.update(interval=epochs, save_best=None, max_keep_ckpts=1)


def _end(scheduler: Mapping[str, Any], epochs: int) -> float:
    return scheduler.get("end", epochs if scheduler.get("by_epoch", True) else math.inf)


def _schedulers(study: Study, cfg: Config) -> list[Mapping[str, Any]]:
    found = cfg.get("param_scheduler") or []
    if isinstance(found, Mapping):
        if "type" not in found:
            raise AusamError(
                f"{study.config} has schedules by optimizer ({', '.join(found)}), and a run of a "
                "study has one optimizer; give param_scheduler=[dict(type=…, …), …]"
            )
        found = [found]
    return list(found)
