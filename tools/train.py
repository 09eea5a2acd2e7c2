"""Train any task from its configuration.

    python tools/train.py configs/simcc_mpii_ausam.py
    python tools/train.py CONFIG --amp --resume --cfg-options train_cfg.max_epochs=10

The flags are those of MMPose. Two things differ: ``--amp`` knows this project's optimizer wrapper,
and a work folder that already holds checkpoints is not trained over: resume it or name another.
"""

from __future__ import annotations

import argparse
import copy

from _common import (
    add_run_arguments,
    apply_run_arguments,
    build_runner,
    check_task,
    load_config,
    run_tool,
)
from _preflight import check_run
from _rehearsal import RehearsalHook
from _start import check_start, choose_start, require_folder
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from ausam_core.errors import AusamError

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
        help="go on from this checkpoint; without a path, from the newest of the work folder",
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
        raise AusamError(
            f"--amp knows the optimizer wrappers {known}, but the configuration has {name}"
        )
    cfg.optim_wrapper.type = AMP_WRAPPERS.get(name, name)
    if cfg.optim_wrapper.type == "AmpOptimWrapper" and get_device() == "cpu":
        raise AusamError("--amp needs a GPU with MMEngine's AmpOptimWrapper; leave it out here")
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


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
            raise AusamError(
                f"--auto-scale-lr needs auto_scale_lr.base_batch_size in {args.config}"
            )
        cfg.auto_scale_lr.enable = True
    if "preprocess_cfg" in cfg:
        cfg.model.setdefault("data_preprocessor", cfg.preprocess_cfg)
    check_run(cfg)
    choose_start(cfg, args.resume)
    trained = copy.deepcopy(cfg)  # whoever trains need not have the images of the test
    trained.test_dataloader = None
    check_task(trained)
    return cfg


def make_runner(argv: list[str] | None = None) -> Runner:
    """The runner that a command line asks for, ready to train."""
    cfg = make_config(parse_args(argv))
    require_folder(cfg.work_dir, "--work-dir")
    runner = build_runner(cfg)
    check_start(runner)
    runner.register_hook(RehearsalHook())
    return runner


def main(argv: list[str] | None = None) -> None:
    """Train."""
    make_runner(argv).train()


if __name__ == "__main__":
    run_tool(main)
