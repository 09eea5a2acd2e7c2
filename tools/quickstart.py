"""Train a small pose model with AUSAM, evaluate it and draw what it sees.

    bash tools/quickstart.sh [--minutes 6 | --epochs 48] [--again]

First it measures a few steps, then it trains as many epochs as fit into the minutes, with a
schedule of that length. Writes ``result.json`` and ``predictions.png`` into
``work_dirs/quickstart``. Run again, it goes on where it was stopped, by the plan it began with, or
shows the result of a finished run; ``--again`` trains once more and keeps the former run beside.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path
from shlex import join

import numpy as np
from _common import ROOT, Options, check_task, load_config, prepare_cpu, run_tool
from _cores import usable_cores
from _counted import counted
from _drawing import Person, draw_grid, skeleton_of
from _plan import Plan, choose, expected_score, fit, measure, read_plan, write_plan
from _start import check_start, choose_start, newest_whole_checkpoint
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

from ausam_core.errors import AusamError

CONFIG = "simcc_lite0_ausam_upright.py"
MINUTES = 6.0
TILES = 24

# PCKh@0.5 after so many epochs, a run of that length with its own schedule, seed 0. On 136 images a
# point or two is noise.
EXPECTED = {10: 47.1, 31: 52.9, 47: 52.8}


class ResultHook(Hook):
    """Measures the training and keeps the predictions and metrics of the last evaluation.

    The seconds travel in the checkpoint, so that a resumed run counts what was done before.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.train_seconds = 0.0
        self.samples: list = []
        self.metrics: dict = {}

    @property
    def seconds(self) -> float:
        """Wall time of training and evaluation, with what checkpoints tell of earlier sessions."""
        return time.monotonic() - self.started

    def before_train_epoch(self, runner: Runner) -> None:
        self._epoch_started = time.monotonic()

    def after_train_epoch(self, runner: Runner) -> None:
        self.train_seconds += time.monotonic() - self._epoch_started

    def before_val_epoch(self, runner: Runner) -> None:
        self.samples = []

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.samples.extend(outputs or [])

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.metrics = metrics or {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["quickstart"] = {"seconds": self.seconds, "train_seconds": self.train_seconds}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        earlier = checkpoint.get("quickstart", {"seconds": 0.0, "train_seconds": 0.0})
        self.started -= earlier["seconds"]
        self.train_seconds += earlier["train_seconds"]


def joints_of(sample) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and annotated joints of one person, both in pixels from 0, shape (K, 2).

    In evaluation the annotation counts from 1, as MPII's files and ``MpiiPCKAccuracy`` do.
    """
    found, truth = sample.pred_instances.keypoints[0], sample.gt_instances.keypoints[0]
    return np.asarray(found), np.asarray(truth) - 1


def correct_joints(sample) -> tuple[int, int]:
    """How many joints of one person PCKh@0.5 counts as found, and how many it counts at all."""
    found, truth = joints_of(sample)
    counted = np.asarray(sample.gt_instances.keypoints_visible).reshape(-1) > 0
    counted[6:8] = False  # pelvis and thorax, as in MpiiPCKAccuracy
    head_size = float(np.asarray(sample.gt_instances.head_size).reshape(-1)[0])
    correct = (np.linalg.norm(found - truth, axis=-1) <= 0.5 * head_size) & counted
    return int(correct.sum()), int(counted.sum())


def to_person(sample) -> Person:
    """One evaluated sample as a tile: image, box, prediction, annotation, score."""
    found, truth = joints_of(sample)
    visible = np.asarray(sample.gt_instances.keypoints_visible).reshape(-1) > 0
    correct, counted = correct_joints(sample)
    return Person(
        image=Image.open(sample.img_path),
        box=np.asarray(sample.gt_instances.bboxes[0]),
        keypoints=found,
        truth=truth[visible],
        caption=f"{correct}/{counted}",
    )


def spread_of(samples: list, count: int = TILES) -> list:
    """Samples from best to worst at even steps: neither the lucky ones only nor a random draw."""
    ranked = sorted(samples, key=lambda s: -correct_joints(s)[0] / max(1, correct_joints(s)[1]))
    steps = np.linspace(0, len(ranked) - 1, min(count, len(ranked)))
    return [ranked[round(step)] for step in steps]


def machine() -> str:
    """Where it ran, for the picture."""
    import torch

    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    return f"{usable_cores()} CPU cores"


def write_result(runner: Runner, result_hook: ResultHook, folder: Path) -> None:
    """Write the picture, then ``result.json``, whose presence says that the run is finished."""
    images = runner.max_epochs * len(runner.train_dataloader.dataset)
    result = {
        "PCK": round(float(result_hook.metrics["PCK"]), 2),
        "seconds": round(result_hook.seconds, 1),
        "images_per_second": round(images / max(result_hook.train_seconds, 1e-9), 1),
        "epochs": runner.max_epochs,
    }
    title = f"PCKh@0.5 = {result['PCK']:.1f} on {len(result_hook.samples)} held-out images"
    subtitle = (
        f"SimCC with AUSAM: {counted(result['epochs'], 'epoch')} in {result['seconds']:.0f} s, "
        f"{result['images_per_second']:.0f} images/s on {machine()}. Best to worst at even steps."
    )
    people = [to_person(sample) for sample in spread_of(result_hook.samples)]
    skeleton = skeleton_of(runner.val_dataloader.dataset.metainfo)
    draw_grid(people, skeleton, title, subtitle).save(folder / "predictions.png")
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(folder / "result.json")


def show(folder: Path, config: Path) -> None:
    """Print what a finished run has to show."""
    result = json.loads((folder / "result.json").read_text())
    print(
        f"\nPCKh@0.5 {result['PCK']:.1f} after {counted(result['epochs'], 'epoch')}, "
        f"{result['seconds']:.0f} s, {result['images_per_second']:.0f} images/s\n"
        f"  result   {folder / 'result.json'}\n"
        f"  picture  {folder / 'predictions.png'}\n\nNext:"
    )
    for what, command in next_steps(folder, config, result["epochs"]):
        if what:
            print(f"  # {what}")
        print(f"  {command}")


def is_finished(folder: Path) -> bool:
    """Whether a whole run lies in the folder."""
    return (folder / "result.json").is_file() and (folder / "predictions.png").is_file()


def keep_beside(folder: Path) -> Path:
    """Move a former run out of the way, to the first free name beside it."""
    number = 1
    while (beside := folder.with_name(f"{folder.name}_{number}")).exists():
        number += 1
    folder.rename(beside)
    return beside


def next_steps(folder: Path, config: Path, epochs: int) -> list[tuple[str, str]]:
    """Three things to do now, each with a command that works as it is, from where one stands."""
    python = shlex.quote(_here(sys.executable))
    tools, configs = _here(ROOT / "tools"), _here(ROOT / "configs")
    demo = [_here(ROOT / "tests/data/pose/mpii/images"), "--config", _here(config)]
    demo += ["--checkpoint", str(folder / f"epoch_{epochs}.pth"), "--out", str(folder / "poses")]
    mpii = f"{tools}/doctor.py"
    if Path("data/mpii/annotations/mpii_train.json").is_file():
        mpii = f"{tools}/train.py {configs}/simcc_mpii_ausam.py"
    sample = f"{_here(ROOT / 'tests/data/make_coco_sample.py')} data/own"
    browse = f"{tools}/browse_dataset.py {configs}/simcc_custom.py"
    return [
        ("your photo, folder or video instead of these", f"{python} {tools}/demo.py {join(demo)}"),
        ("MPII: where to get it, then how to train on it", f"{python} {mpii}"),
        ("your own data: an example of it (docs/own_pose_data.md)", f"{python} {sample}"),
        ("", f"{python} {browse}"),
    ]


def _here(path: str | Path) -> str:
    """A path as one would type it from the current folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def make_plan(cfg: Config, args: argparse.Namespace) -> Plan:
    """The plan that a run in this folder began with, or a new one for the time there is."""
    kept, asked = read_plan(args.work_dir), args.minutes is not None or args.epochs is not None
    if newest_whole_checkpoint(args.work_dir) is not None:
        plan = kept or Plan(cfg.train_cfg.max_epochs, cfg.train_cfg.max_epochs)
        note = "; --minutes and --epochs are for a new one, with --again" if asked else ""
        print(
            f"Going on with the plan it began with: {counted(plan.epochs, 'epoch')}{note}.",
            flush=True,
        )
        return plan
    if kept and not asked:
        return kept
    if args.epochs is not None:
        plan = Plan(args.epochs, max(args.epochs, cfg.train_cfg.max_epochs))
    else:
        print("Measuring how fast this machine is, in a few steps …", flush=True)
        speed = measure(cfg)
        images, val_images = count(cfg, "train"), count(cfg, "val")
        plan = choose(cfg, speed, args.minutes or MINUTES, images, val_images)
    write_plan(plan, args.work_dir)
    return plan


def count(cfg: Config, split: str) -> int:
    """How many persons a split has."""
    init_default_scope(cfg.default_scope)
    return len(DATASETS.build(dict(cfg[f"{split}_dataloader"].dataset, pipeline=[])))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--again", action="store_true", help="train once more, keeping the former run beside"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=float, help=f"how long it may train (default: {MINUTES:g})"
    )
    length.add_argument("--epochs", type=int, help="how long it trains, however long that takes")
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / CONFIG)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/quickstart"))
    parser.add_argument("--cfg-options", nargs="+", action=Options, metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    if args.minutes is not None and not 0 < args.minutes < 10**5:
        raise AusamError(f"--minutes must be above 0, found {args.minutes:g}")
    if args.epochs is not None and args.epochs < 1:
        raise AusamError(f"--epochs must be at least 1, found {args.epochs}")
    return args


def main(argv: list[str] | None = None) -> None:
    """Plan, train, evaluate, draw; or show what is there."""
    args = parse_args(argv)
    folder = args.work_dir
    if folder.is_file():
        raise AusamError(f"{folder} is a file; choose a folder with --work-dir")
    if is_finished(folder) and not args.again:
        print("The quickstart has been run; --again trains once more.", end="")
        show(folder, args.config)
        return
    cfg = load_config(args.config, args.cfg_options)
    if cfg.get("default_scope") != "mmpose":
        raise AusamError(f"{args.config} trains no pose model; configs/simcc_*_mini.py do")
    cfg.work_dir = str(folder)
    check_task(cfg)
    if args.again and folder.exists():
        print(f"The former run is kept in {keep_beside(folder)}.")
    prepare_cpu(cfg)
    plan = make_plan(cfg, args)
    known = EXPECTED if args.config.name == CONFIG else {}
    print(plan.sentence(expected_score(plan.epochs, known)), flush=True)
    fit(cfg, plan.epochs, -(-count(cfg, "train") // cfg.train_dataloader.batch_size))
    choose_start(cfg, "auto")
    runner, result_hook = Runner.from_cfg(cfg), ResultHook()
    check_start(runner)
    runner.register_hook(result_hook)
    runner.train()
    if not result_hook.samples:  # stopped after the last epoch was saved, before it was evaluated
        runner.val_loop.run()
    write_result(runner, result_hook, folder)
    show(folder, args.config)


if __name__ == "__main__":
    run_tool(main)
