"""The runs that are compared, all made from one configuration that trains with AUSAM."""

from __future__ import annotations

import copy
from pathlib import Path

from mmengine.config import Config

from ausam_core.errors import AusamError

BASE_WRAPPERS = {"SAMOptimWrapper": "OptimWrapper", "SAMAmpOptimWrapper": "AmpOptimWrapper"}


def make_variants(cfg: Config) -> dict[str, Config]:
    """Base optimizer, SAM, AUSAM that drops samples in the loop, AUSAM that does not load them, and
    what costs a pass a sample otherwise: a late start before it begins, a split budget, MSAM.

    Everything else is alike: model, data, loader, hooks, policy of the training accuracy.

    Args:
        cfg: Configuration with a ``SAMOptimWrapper``, a ``SelectiveBatchSampler`` and an
            ``AUSAMHook``.

    Raises:
        AusamError: one of them is not there.
    """
    wrapper, sampler = cfg.optim_wrapper.type, cfg.train_dataloader.get("batch_sampler") or {}
    hooks = [hook for hook in cfg.get("custom_hooks", []) if hook["type"] == "AUSAMHook"]
    if wrapper not in BASE_WRAPPERS or sampler.get("type") != "SelectiveBatchSampler" or not hooks:
        raise AusamError(
            f"{cfg.filename} does not train with AUSAM: a benchmark needs SAMOptimWrapper, "
            "SelectiveBatchSampler and AUSAMHook, as in configs/simcc_mpii_ausam_mini.py"
        )
    selection = dict(sampler.selection)
    alpha = selection.get("alpha", 0.5)
    before_loading = copy.deepcopy(cfg)
    sam = copy.deepcopy(cfg)
    sam.train_dataloader.pop("batch_sampler")
    in_loop = copy.deepcopy(sam)
    sam.custom_hooks = [hook for hook in cfg.custom_hooks if hook["type"] != "AUSAMHook"]
    in_loop.custom_hooks = [*sam.custom_hooks, in_loop_hook(hooks[0], selection)]
    base = copy.deepcopy(sam)
    base.optim_wrapper.type = BASE_WRAPPERS[wrapper]
    base.optim_wrapper.pop("method")
    return {
        cfg.optim_wrapper.optimizer.type: base,
        "SAM": sam,
        f"AUSAM {alpha:g} in the loop": in_loop,
        f"AUSAM {alpha:g} before loading": before_loading,
        **third_axis(before_loading),
    }


def third_axis(cfg: Config) -> dict[str, Config]:
    """Runs that cost what the base optimizer costs, by when they begin or how they split a step."""
    late, split, momentum = (copy.deepcopy(cfg) for _ in range(3))
    for hook in late.custom_hooks:
        if hook["type"] == "AUSAMHook":
            hook["start"] = 0.99
    split.train_dataloader.batch_sampler.selection = dict(type="UniformSelection", alpha=0.75)
    split.optim_wrapper.method = {**split.optim_wrapper.method, "ascent": 1 / 3}
    momentum.train_dataloader.pop("batch_sampler")
    momentum.custom_hooks = [h for h in cfg.custom_hooks if h["type"] != "AUSAMHook"]
    momentum.optim_wrapper.method = dict(type="MSAM")
    return {"late AUSAM, before it begins": late, "3/4 kept, 1/3 ascends": split, "MSAM": momentum}


def in_loop_hook(hook: dict, selection: dict) -> dict:
    """The hook's configuration for the same selection, drawn from batches that were loaded."""
    return {**hook, "selection": selection}


def prepare(
    cfg: Config, name: str, work_dir: Path, *, in_memory: bool, workers: int | None
) -> None:
    """Change a configuration so that it can be trained in turns and leaves nothing behind.

    Args:
        cfg: Changed in place.
        name: Name of the run.
        work_dir: Folder for logs.
        in_memory: Give samples that were made once, without workers.
        workers: Number of loader workers, or None for the configuration's own.
    """
    cfg.work_dir, cfg.experiment_name = str(work_dir), name.replace(" ", "_")
    cfg.train_cfg = dict(type="SteppedLoop", max_epochs=cfg.train_cfg.max_epochs)
    for split in ("val", "test"):
        cfg[f"{split}_cfg"] = cfg[f"{split}_dataloader"] = cfg[f"{split}_evaluator"] = None
    cfg.default_hooks.checkpoint = None  # no evaluation, so no best model, and no disk in the time
    cfg.log_level = "ERROR"
    loader = cfg.train_dataloader
    if in_memory:
        loader.dataset.pipeline = [dict(type="Remembered", pipeline=loader.dataset.pipeline)]
        workers = 0
        for hook in cfg.custom_hooks:
            # Chance for each sample would be paid for here, without there being any.
            if hook["type"] == "AUSAMHook":
                hook["exact_resume"] = False
    if workers is not None:
        loader.num_workers = workers
        loader.persistent_workers = workers > 0
    if loader.num_workers == 0:
        loader.pop("prefetch_factor", None)
