"""tools/study.py run: real runs on the small sample, and what is left when it is killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from _study.record import read_records
from _study.study import load_study

from tests.tools.study_cases import ROOT, STUDY, write_study

pytestmark = pytest.mark.slow


def command(path: Path, *more: str) -> list[str]:
    work = str(path.parent / "work")
    argv = [sys.executable, str(ROOT / "tools/study.py"), "run", str(path)]
    return [*argv, "--work-dir", work, *more]


def run(path: Path, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(path, *more), capture_output=True, text=True)


def records(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.with_suffix("").glob("*.json")}


def test_a_study_is_run_once_counts_its_passes_and_is_told(tmp_path):
    path = write_study(tmp_path)
    first = run(path, "--seeds", "0")
    assert first.returncode == 0, first.stderr
    assert "3 runs, 3 missing" in first.stdout and "3/3" in first.stdout
    found = read_records(load_study(path))
    assert {(r.arm, r.seed, r.epochs) for r in found} == {
        ("sgd", 0, 4),
        ("sam", 0, 2),
        ("late", 0, 4),
    }
    for record in found:
        assert record.passes == 400
        assert 0 <= record.score <= 100 and 0 <= record.training_score <= 100
        assert record.training_loss > 0 and record.seconds > 0
    before = records(path)
    again = run(path, "--seeds", "0")
    assert "3 runs, 0 missing; done" in again.stdout and records(path) == before


def test_killed_at_any_moment_it_loses_only_the_runs_under_way(tmp_path):
    path = write_study(tmp_path)
    chance = random.Random(0)
    for _ in range(5):
        before = records(path)
        process = subprocess.Popen(command(path), stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(1, 10))
        process.send_signal(signal.SIGKILL)
        process.wait()
        after = records(path)
        assert before.items() <= after.items()
        for text in after.values():
            json.loads(text)
    last = run(path)
    assert last.returncode == 0, last.stdout + last.stderr
    assert len(read_records(load_study(path))) == 6
    assert not [file for file in (tmp_path / "tiny").iterdir() if file.suffix != ".json"]


def test_runs_end_with_the_process_that_counts_them(tmp_path):
    path = write_study(tmp_path, STUDY.replace("4 * samples", "40_000 * samples"))
    process = subprocess.Popen(command(path), stdout=subprocess.DEVNULL)
    log = tmp_path / "work/tiny/sgd-0.log"
    deadline = time.monotonic() + 60
    while not (log.is_file() and "before_train" in log.read_text()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    runs = [int(pid) for pid in _children(process.pid)]
    assert len(runs) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(_lives(pid) for pid in runs):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_that_fails_is_named_and_the_others_are_made(tmp_path):
    options = 'options={"optim_wrapper.optimizer.lr": -1.0}'
    wrong = STUDY.replace('label="SAM", method=sam', f'label="SAM", method=sam, {options}')
    done = run(write_study(tmp_path, wrong), "--seeds", "0")
    assert done.returncode == 2
    assert (
        done.stderr.startswith("error: 1 of 3 runs failed (sam-0): ")
        and "learning rate" in done.stderr
    )
    assert sorted(records(tmp_path / "tiny.py")) == ["late-0.json", "sgd-0.json"]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("samples = 100", "samples = 200", "says samples = 200, but .* trains 100"),
        ("accuracy/top1", "accuracy/top2", "asks for the metric accuracy/top2, but .* gives"),
    ],
)
def test_a_study_that_is_wrong_about_its_config_trains_nothing(tmp_path, before, after, says):
    done = run(write_study(tmp_path, STUDY.replace(before, after)), "--workers", "1")
    assert done.returncode == 2
    assert re.search(says, done.stderr) and "no other run is made" in done.stderr
    assert not records(tmp_path / "tiny.py")
    assert [log.name for log in (tmp_path / "work/tiny").glob("*.log")] == ["sgd-0.log"]
    assert not list((tmp_path / "work/tiny/sgd-0").glob("*.pth"))


def test_a_seed_that_is_named_twice_is_run_once(tmp_path):
    done = run(write_study(tmp_path), "--arms", "sgd", "sgd", "--seeds", "0", "0")
    assert done.returncode == 0 and "1 run, 1 missing" in done.stdout, done.stderr
    assert list(records(tmp_path / "tiny.py")) == ["sgd-0.json"]


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
