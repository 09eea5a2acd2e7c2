"""A run that is killed at random moments, again and again, ends as the run that nobody killed.

Ten kills by default; ``AUSAM_KILLS=100`` asks for a hundred.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.ausam_core.mmengine.tiny import REPOSITORY, same
from tests.survive.run import RESULT

KILLS = int(os.environ.get("AUSAM_KILLS", 10))
pytestmark = pytest.mark.slow


def start(directory: Path) -> subprocess.Popen:
    """The run, in a process group of its own: its workers are killed with it."""
    command = [sys.executable, "-u", "-m", "tests.survive.run", str(directory)]
    log = (directory.parent / f"{directory.name}.log").open("a")
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def has_begun(process: subprocess.Popen) -> bool:
    """Wait until importing is over; whether the run has begun to train."""
    return any(line.strip() == "begun" for line in iter(process.stdout.readline, ""))


def kill(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ends_well(directory: Path) -> dict:
    process = start(directory)
    process.communicate()
    log = directory.parent / f"{directory.name}.log"
    assert process.returncode == 0, log.read_text()[-3000:]
    return torch.load(directory / RESULT, weights_only=True)


def test_killed_at_random_moments_it_ends_as_if_nobody_had(tmp_path):
    expected = ends_well(tmp_path / "whole")
    chance, killed, folder = random.Random(0), 0, 0
    lengths: list[float] = []
    while killed < KILLS:
        directory = tmp_path / f"killed-{folder}"
        folder += 1
        while killed < KILLS:
            process = start(directory)
            assert has_begun(process), (tmp_path / f"{directory.name}.log").read_text()[-3000:]
            # Log-uniform, from the first steps to beyond the end of the run.
            moment = 10 ** chance.uniform(-2, 1)
            lengths.append(moment)
            try:
                process.wait(moment)
                break  # it was done before
            except subprocess.TimeoutExpired:
                kill(process)
                killed += 1
        assert same(ends_well(directory), expected), f"kills after {lengths} seconds"
