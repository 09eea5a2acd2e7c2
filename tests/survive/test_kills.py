"""A run that is killed at random moments, again and again, ends as the run that nobody killed.

Ten kills by default; ``AUSAM_KILLS=100`` asks for a hundred. Each run is a process of its own,
forked from one that has imported everything: importing takes longer than training.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from tests.ausam_core.mmengine.tiny import same
from tests.survive.run import RESULT, alone

KILLS = int(os.environ.get("AUSAM_KILLS", 10))
pytestmark = pytest.mark.slow
runs = multiprocessing.get_context("forkserver")
runs.set_forkserver_preload(["tests.survive.run"])


def log_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.log")


def start(directory: Path) -> BaseProcess:
    """The run, once it has begun to train."""
    begun = runs.Event()
    process = runs.Process(target=alone, args=(directory, log_of(directory), begun))
    process.start()
    while not begun.wait(0.1):
        assert process.is_alive(), log_of(directory).read_text()[-3000:]
    return process


def kill(process: BaseProcess) -> None:
    """End the run and its workers at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def ends_well(directory: Path) -> dict:
    process = start(directory)
    process.join()
    assert process.exitcode == 0, log_of(directory).read_text()[-3000:]
    return torch.load(directory / RESULT, weights_only=True)


def test_killed_at_random_moments_it_ends_as_if_nobody_had(tmp_path):
    expected = ends_well(tmp_path / "whole")
    chance, killed, folder = random.Random(0), 0, 0
    moments: list[float] = []
    while killed < KILLS:
        directory = tmp_path / f"killed-{folder}"
        folder += 1
        while killed < KILLS:
            process = start(directory)
            # Log-uniform, from the first steps to beyond the end of the run.
            moments.append(10 ** chance.uniform(-2, 1))
            process.join(moments[-1])
            if not process.is_alive():
                break  # it was done before
            kill(process)
            killed += 1
        assert same(ends_well(directory), expected), f"kills after {moments} seconds"
