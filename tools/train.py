"""Train any task from its configuration.

    python tools/train.py configs/simcc_mpii_ausam.py
    python tools/train.py CONFIG --amp --resume --work-dir work_dirs/mine --cfg-options train_cfg.max_epochs=10

The flags are those of MMPose. Two things differ: ``--amp`` knows this project's optimizer wrapper, and a work folder
that already holds checkpoints is not trained over: resume it or name another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _common import (
    add_run_arguments,
    apply_run_arguments,
    check_task,
    load_config,
    require_file,
    run_tool,
)
from mmengine.config import Config
from mmengine.runner import Runner, find_latest_checkpoint

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint, newest_whole_checkpoint

AMP_WRAPPERS = {
    "OptimWrapper": "AmpOptimWrapper",
    "SAMOptimWrapper": "SAMAmpOptimWrapper",
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a model from a configuration")
    parser.add_argument("config", help="configuration file")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from this checkpoint; without a path, from the newest whole one of the work folder",
    )
    parser.add_argument("--amp", action="store_true", help="train in automatic mixed precision")
    parser.add_argument("--no-validate", action="store_true", help="do not evaluate while training")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the real over the base batch size",
    )
    add_run_arguments(parser)
    return parser.parse_args(argv)


def enable_amp(cfg: Config) -> None:
    """Replace the optimizer wrapper by its form for mixed precision.

    Raises:
        AusamError: the wrapper has no such form that this tool knows.
    """
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    name = kind if isinstance(kind, str) else kind.__name__
    if name not in AMP_WRAPPERS and name not in AMP_WRAPPERS.values():
        known = ", ".join(AMP_WRAPPERS)
        raise AusamError(f"--amp knows the optimizer wrappers {known}, but the configuration has {name}")
    cfg.optim_wrapper.type = AMP_WRAPPERS.get(name, name)
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def choose_start(cfg: Config, resume: str | None) -> None:
    """Decide what training starts from, so that nothing is lost and nothing broken is loaded.

    Args:
        cfg: Configuration with ``work_dir`` set; gets ``resume`` and ``load_from``.
        resume: None for a new run, ``auto``, or the path of a checkpoint.

    Raises:
        AusamError: the named checkpoint is missing or truncated, or a new run would write over an old one.
    """
    if resume is None and cfg.get("resume"):
        resume = cfg.get("load_from") or "auto"
    held = sorted(Path(cfg.work_dir).glob("*.pth"))
    if resume is None:
        if held:
            raise AusamError(
                f"{cfg.work_dir} already holds checkpoints ({held[-1].name}): go on with --resume, "
                "or choose another folder with --work-dir"
            )
        if cfg.get("load_from"):
            require_file(cfg.load_from, "the checkpoint of load_from")
        return
    cfg.resume = True
    if resume != "auto":
        require_file(resume, "checkpoint to resume from")
        if "://" not in resume:
            check_checkpoint(resume)
        cfg.load_from = resume
        return
    # With nothing here yet MMEngine starts from the beginning, as a job that is always sent with --resume wants.
    cfg.load_from = None
    if held:
        whole = newest_whole_checkpoint(cfg.work_dir)
        if whole is None:
            raise AusamError(f"every checkpoint in {cfg.work_dir} is truncated; remove them to start anew")
        last = find_latest_checkpoint(cfg.work_dir)
        if last is not None and Path(last).name != whole.name:
            print(f"warning: {last} is missing or truncated; going on from {whole}", flush=True)
        cfg.load_from = str(whole)


def make_config(args: argparse.Namespace) -> Config:
    """The configuration with every flag applied and its data checked."""
    cfg = load_config(args.config, args.cfg_options)
    apply_run_arguments(cfg, args)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        if "auto_scale_lr" not in cfg:
            raise AusamError(f"--auto-scale-lr needs auto_scale_lr.base_batch_size in {args.config}")
        cfg.auto_scale_lr.enable = True
    if "preprocess_cfg" in cfg:
        cfg.model.setdefault("data_preprocessor", cfg.preprocess_cfg)
    choose_start(cfg, args.resume)
    check_task(cfg)
    return cfg


def main(argv: list[str] | None = None) -> None:
    """Train."""
    cfg = make_config(parse_args(argv))
    Runner.from_cfg(cfg).train()


if __name__ == "__main__":
    run_tool(main)
