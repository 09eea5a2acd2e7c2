"""Evaluate a checkpoint of any task.

    python tools/test.py configs/simcc_mpii_ausam.py epoch_210.pth --out result.json

The flags are those of MMPose.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import mmengine
from _common import (
    add_run_arguments,
    apply_run_arguments,
    build_runner,
    check_task,
    load_config,
    run_tool,
)
from _start import check_weights, read_weights, require_file, require_folder, require_place
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ausam_core.errors import AusamError

FORMATS = (".json", ".yaml", ".yml", ".pkl", ".pickle")


class SaveMetrics(Hook):
    """Writes the metrics to a file whose ending names the format (json, yaml, pkl)."""

    priority = "LOWEST"

    def __init__(self, path: str) -> None:
        self.path = path

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Called by MMEngine when the evaluation is done."""
        if metrics is not None:
            mmengine.dump(metrics, self.path)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Evaluate a checkpoint")
    parser.add_argument("config", help="configuration file")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--out", metavar="FILE", help="write the metrics here (json, yaml or pkl)")
    parser.add_argument("--dump", metavar="FILE.pkl", help="write the predictions here")
    parser.add_argument("--badcase", action="store_true", help="analyze the worst samples (MMPose)")
    add_run_arguments(parser)
    return parser.parse_args(argv)


def add_dump(cfg: Config, path: str) -> None:
    """Add MMEngine's ``DumpResults`` to the evaluators."""
    if not path.endswith((".pkl", ".pickle")):
        raise AusamError(
            f"--dump writes a pickle file: the name must end in .pkl, and {path} does not"
        )
    evaluators = (
        cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    )
    cfg.test_evaluator = [*evaluators, dict(type="DumpResults", out_file_path=path)]


def enable_badcase(cfg: Config, args: argparse.Namespace) -> None:
    """Turn MMPose's analysis of bad cases on, by the loss or by the metric as the file says."""
    hook = cfg.get("default_hooks", {}).get("badcase")
    if hook is None:
        raise AusamError(f"--badcase needs default_hooks.badcase, which {args.config} does not set")
    kind = hook.get("metric_type", "loss")
    if kind not in ("loss", "accuracy"):
        raise AusamError(f"default_hooks.badcase.metric_type must be loss or accuracy, not {kind}")
    metric = cfg.model.head.loss if kind == "loss" else cfg.test_evaluator
    hook.setdefault("metric", metric)
    hook.update(enable=True, show=args.show, interval=args.interval)
    if args.show:
        hook.wait_time = args.wait_time


def make_config(args: argparse.Namespace) -> Config:
    """The configuration with every flag applied, its data and the checkpoint checked."""
    cfg = load_config(args.config, args.cfg_options)
    apply_run_arguments(cfg, args)
    if cfg.get("test_dataloader") is None or cfg.get("test_evaluator") is None:
        raise AusamError(f"{args.config} has no test_dataloader and test_evaluator to test with")
    require_file(args.checkpoint, "checkpoint")
    cfg.load_from, cfg.resume = args.checkpoint, False
    require_place(args.out, "--out")
    require_place(args.dump, "--dump")
    if args.out and Path(args.out).suffix not in FORMATS:
        raise AusamError(f"--out must end in {', '.join(FORMATS)}, found {args.out}")
    if args.badcase:
        enable_badcase(cfg, args)
    if args.dump:
        add_dump(cfg, args.dump)
    read_weights(args.checkpoint)  # what is none, before a model is built
    tested = copy.deepcopy(cfg)  # whoever tests need not have the other splits
    tested.train_dataloader = tested.val_dataloader = None
    check_task(tested)
    return cfg


def main(argv: list[str] | None = None) -> None:
    """Evaluate."""
    args = parse_args(argv)
    cfg = make_config(args)
    require_folder(cfg.work_dir, "--work-dir")
    runner = build_runner(cfg)
    check_weights(runner.model, args.checkpoint, args.config)
    if args.out:
        runner.register_hook(SaveMetrics(args.out))
    runner.test()


if __name__ == "__main__":
    run_tool(main)
