"""The quickstart trains the mini configuration, shows what it did, and is safe to run again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "train_cfg.max_epochs=1",
    "train_dataloader.dataset.indices=64",
    "val_dataloader.dataset.indices=30",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
]


@pytest.fixture
def quickstart(tool):
    return tool("quickstart")


def person(joints: list[float], truth: list[float], head_size: float) -> BaseDataElement:
    """An evaluated sample with 16 joints on the x axis; the truth counts from 1."""
    sample = BaseDataElement()
    on_axis = [np.stack([np.asarray(x), np.zeros(16)], -1)[None] for x in (joints, truth)]
    sample.pred_instances = InstanceData(keypoints=on_axis[0])
    sample.gt_instances = InstanceData(
        keypoints=on_axis[1] + 1,
        keypoints_visible=np.ones((1, 16)),
        head_size=np.array([[head_size]]),
    )
    return sample


def test_joints_within_half_a_head_are_correct_and_the_trunk_is_not_counted(quickstart):
    errors = np.zeros(16)
    errors[[0, 1, 6]] = [4.9, 5.1, 99]  # pelvis, 6, is not counted
    assert quickstart.correct_joints(person(errors, np.zeros(16), 10)) == (13, 14)


def test_samples_are_shown_from_best_to_worst_at_even_steps(quickstart):
    people = [person([0.0] * right + [9.0] * (16 - right), [0.0] * 16, 1) for right in range(17)]
    shown = [quickstart.correct_joints(s)[0] for s in quickstart.spread_of(people, 3)]
    assert shown == [14, 6, 0]


@pytest.fixture(scope="module")
def run_once(tool, tmp_path_factory) -> Path:
    """One epoch of 64 images."""
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    tool("quickstart").main(["--work-dir", str(folder), "--cfg-options", *SMALL])
    return folder


@pytest.fixture
def finished(run_once, tmp_path) -> Path:
    return Path(shutil.copytree(run_once, tmp_path / "run"))


def test_the_result_holds_what_was_measured(finished):
    result = json.loads((finished / "result.json").read_text())
    assert set(result) == {"PCK", "seconds", "images_per_second", "epochs"}
    assert result["epochs"] == 1
    assert 0 <= result["PCK"] <= 100
    assert 64 / result["images_per_second"] < result["seconds"] < 600


def test_the_picture_shows_poses_in_two_colours(finished):
    picture = np.asarray(Image.open(finished / "predictions.png").convert("RGB"), int)
    assert picture.shape[0] > 4 * 224 and picture.shape[1] > 6 * 224
    from _drawing import COLOURS

    for colour in COLOURS.values():
        assert (np.abs(picture - colour).max(-1) < 12).sum() > 200


def test_a_finished_run_is_shown_and_not_repeated(quickstart, finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    quickstart.main(["--work-dir", str(finished)])
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    printed = capsys.readouterr().out
    assert "--again" in printed and "result.json" in printed and "predictions.png" in printed


def test_again_trains_anew_and_keeps_the_former_run(quickstart, finished):
    former = (finished / "result.json").read_text()
    quickstart.main(["--again", "--work-dir", str(finished), "--cfg-options", *SMALL])
    assert (finished / "result.json").is_file()
    assert (finished.with_name("run_1") / "result.json").read_text() == former


def test_a_run_stopped_before_its_picture_only_evaluates(quickstart, finished, capsys):
    (finished / "result.json").unlink()
    weights = {path: path.stat().st_mtime_ns for path in finished.glob("epoch_*.pth")}
    assert weights
    quickstart.main(["--work-dir", str(finished), "--cfg-options", *SMALL])
    assert {path: path.stat().st_mtime_ns for path in finished.glob("epoch_*.pth")} == weights
    assert json.loads((finished / "result.json").read_text())["epochs"] == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    command = [sys.executable, str(ROOT / "tools/quickstart.py"), "--work-dir", str(tmp_path)]
    command += ["--cfg-options", *SMALL, "train_cfg.max_epochs=4", "train_cfg.val_interval=9"]
    command += ["default_hooks.checkpoint.interval=1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "last_checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "result.json").exists()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "resumed epoch" in done.stdout
    assert json.loads((tmp_path / "result.json").read_text())["epochs"] == 4
