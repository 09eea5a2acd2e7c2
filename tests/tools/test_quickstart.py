"""The quickstart trains in the time there is, shows what it did, and is safe to run again."""

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
    "train_dataloader.dataset.indices=64",
    "val_dataloader.dataset.indices=30",
    "train_dataloader.num_workers=0",
    "val_dataloader.num_workers=0",
]
ONE_EPOCH = ["--epochs", "1", "--cfg-options", *SMALL]


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
    tool("quickstart").main(["--work-dir", str(folder), *ONE_EPOCH])
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
    quickstart.main(["--again", "--work-dir", str(finished), *ONE_EPOCH])
    assert (finished / "result.json").is_file()
    assert (finished.with_name("run_1") / "result.json").read_text() == former


def test_a_run_stopped_before_its_picture_only_evaluates(quickstart, finished, capsys):
    (finished / "result.json").unlink()
    weights = {path: path.stat().st_mtime_ns for path in finished.glob("epoch_*.pth")}
    assert weights
    quickstart.main(["--work-dir", str(finished), "--cfg-options", *SMALL])
    assert {path: path.stat().st_mtime_ns for path in finished.glob("epoch_*.pth")} == weights
    assert json.loads((finished / "result.json").read_text())["epochs"] == 1


def test_a_budget_of_time_becomes_a_plan_with_all_that_hangs_on_it(
    quickstart, tmp_path, monkeypatch, capsys
):
    trained = []
    monkeypatch.setattr(quickstart, "measure", lambda cfg: 32.0)
    monkeypatch.setattr(quickstart.Runner, "from_cfg", lambda cfg: trained.append(cfg) or 1 / 0)
    argv = ["--work-dir", str(tmp_path / "run"), "--minutes", "0.5", "--cfg-options", *SMALL]
    with pytest.raises(ZeroDivisionError):
        quickstart.main(argv)
    # 64 images at 32 images/s: 2 s an epoch, the first double, and 2 s for all evaluations
    (cfg,) = trained
    assert cfg.train_cfg.max_epochs == 12
    said = capsys.readouterr().out
    assert "this machine: 32 images/s; training 12 of 48 epochs, about 1 minute" in said
    assert "PCKh@0.5" in said and "--epochs 48 for all" in said
    plan = json.loads((tmp_path / "run/plan.json").read_text())
    assert (plan["epochs"], plan["of"]) == (12, 48)


def test_a_resumed_run_keeps_the_plan_it_began_with(quickstart, finished, monkeypatch, capsys):
    (finished / "result.json").unlink()
    monkeypatch.setattr(quickstart, "measure", lambda cfg: pytest.fail("measured again"))
    quickstart.main(["--minutes", "9", "--work-dir", str(finished), "--cfg-options", *SMALL])
    said = capsys.readouterr().out
    assert "the plan it began with: 1 epoch;" in said and "--again" in said
    assert json.loads((finished / "result.json").read_text())["epochs"] == 1


def test_a_run_that_saved_nothing_yet_may_get_another_plan(quickstart, tmp_path):
    cfg = quickstart.load_config(quickstart.ROOT / "configs" / quickstart.CONFIG)
    quickstart.write_plan(quickstart.Plan(7, 48), tmp_path)
    work = ["--work-dir", str(tmp_path)]
    assert quickstart.make_plan(cfg, quickstart.parse_args(work)).epochs == 7
    args = quickstart.parse_args([*work, "--epochs", "3"])
    assert quickstart.make_plan(cfg, args) == quickstart.Plan(3, 48)
    assert quickstart.read_plan(tmp_path).epochs == 3


@pytest.mark.parametrize(
    "argv, says",
    [
        (["--minutes", "0"], "--minutes must be above 0"),
        (["--minutes", "nan"], "--minutes must be above 0"),
        (["--epochs", "0"], "--epochs must be at least 1"),
    ],
)
def test_lengths_that_are_none_are_refused(quickstart, fails_with, argv, says):
    assert says in fails_with(quickstart.main, *argv)


@pytest.mark.slow
def test_the_next_steps_work_as_printed(finished, tmp_path):
    """From the repository, as after quickstart.sh; what they write goes into a copy of it."""
    root = tmp_path / "repository"
    root.mkdir()
    for name in ("tools", "configs", "tasks", "ausam_core", "docs"):
        (root / name).symlink_to(ROOT / name)
    (root / "tests").mkdir()
    (root / "tests/data").symlink_to(ROOT / "tests/data")
    shutil.copytree(finished, root / "work_dirs/quickstart")
    shown = subprocess.run(
        [sys.executable, "tools/quickstart.py"], cwd=root, capture_output=True, text=True
    )
    commands = [
        line.strip()
        for line in shown.stdout.partition("Next:")[2].splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    assert len(commands) == 4
    for command in commands:
        done = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr[-2000:])
    assert len(list((root / "work_dirs/quickstart/poses").glob("*.png"))) == 5
    assert (root / "work_dirs/browse/simcc_custom_train_original.png").is_file()


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    command = [sys.executable, str(ROOT / "tools/quickstart.py"), "--work-dir", str(tmp_path)]
    command += ["--epochs", "4", "--cfg-options", *SMALL]
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
