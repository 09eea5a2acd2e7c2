"""Train the mini configuration with AUSAM, evaluate it and draw what it sees.

    bash tools/quickstart.sh [--again]

Writes ``result.json`` and ``predictions.png`` into ``work_dirs/quickstart``. Run again, it goes on
where it was stopped, or shows the result of a finished run; ``--again`` trains anew and keeps the
former run beside.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from _common import ROOT, check_task, load_config, run_tool, share_cores
from _drawing import Person, draw_grid, skeleton_of
from _start import choose_start
from mmengine.config import DictAction
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

TILES = 24


class Witness(Hook):
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
    if hasattr(os, "sched_getaffinity"):  # not on macOS; knows of containers that get a few cores
        return f"{len(os.sched_getaffinity(0))} CPU cores"
    return f"{os.cpu_count()} CPU cores"


def write_result(runner: Runner, witness: Witness, folder: Path) -> None:
    """Write the picture, then ``result.json``, whose presence says that the run is finished."""
    images = runner.max_epochs * len(runner.train_dataloader.dataset)
    result = {
        "PCK": round(float(witness.metrics["PCK"]), 2),
        "seconds": round(witness.seconds, 1),
        "images_per_second": round(images / max(witness.train_seconds, 1e-9), 1),
        "epochs": runner.max_epochs,
    }
    title = f"PCKh@0.5 = {result['PCK']:.1f} on {len(witness.samples)} held-out images"
    subtitle = (
        f"SimCC from scratch with AUSAM: {result['epochs']} epochs in {result['seconds']:.0f} s, "
        f"{result['images_per_second']:.0f} images/s on {machine()}. Best to worst at even steps."
    )
    people = [to_person(sample) for sample in spread_of(witness.samples)]
    skeleton = skeleton_of(runner.val_dataloader.dataset.metainfo)
    draw_grid(people, skeleton, title, subtitle).save(folder / "predictions.png")
    partial = folder / "result.json.partial"
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(folder / "result.json")


def show(folder: Path) -> None:
    """Print what a finished run has to show."""
    result = json.loads((folder / "result.json").read_text())
    print(
        f"\nPCKh@0.5 {result['PCK']:.1f} after {result['epochs']} epochs, "
        f"{result['seconds']:.0f} s, {result['images_per_second']:.0f} images/s\n"
        f"  result   {folder / 'result.json'}\n"
        f"  picture  {folder / 'predictions.png'}"
    )


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


def main(argv: list[str] | None = None) -> None:
    """Train, evaluate, draw; or show what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--again", action="store_true", help="train anew, keeping the former run beside"
    )
    parser.add_argument("--config", default=ROOT / "configs/simcc_mpii_ausam_mini.py")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/quickstart"))
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    args = parser.parse_args(argv)

    folder = args.work_dir
    if is_finished(folder) and not args.again:
        print("The quickstart has been run; --again trains anew.", end="")
        show(folder)
        return
    if args.again and folder.exists():
        print(f"The former run is kept in {keep_beside(folder)}.")
    cfg = load_config(args.config, args.cfg_options)
    cfg.work_dir = str(folder)
    choose_start(cfg, "auto")
    check_task(cfg)
    share_cores(cfg)
    runner, witness = Runner.from_cfg(cfg), Witness()
    runner.register_hook(witness)
    runner.train()
    if not witness.samples:  # stopped after the last epoch was saved, before it was evaluated
        runner.val_loop.run()
    write_result(runner, witness, folder)
    show(folder)


if __name__ == "__main__":
    run_tool(main)
