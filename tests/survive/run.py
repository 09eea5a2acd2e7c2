"""The run that ``test_kills`` kills.

Dropout, augmentation by three generators, two loader workers, validation, a checkpoint an epoch. It
resumes what it finds, and writes what it came to when it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ausam_core.mmengine import check_checkpoint, newest_whole_checkpoint
from ausam_core.random_state import capture_random_state
from tests.ausam_core.mmengine.tiny import (
    HALF,
    SAM,
    Net,
    augment,
    finish,
    hook_of,
    make_runner,
    pack,
    state_of,
)

EPOCHS = 12
RESULT = "result.bin"


def alone(directory: Path, log: Path, begun: Any) -> None:
    """Train in a process group of its own, which workers are killed with.

    Args:
        directory: of the run.
        log: what it prints goes there.
        begun: an event, set when training begins.
    """
    os.setsid()
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(written, stream)
    torch.set_num_threads(1)
    train(directory, begun.set)


def train(directory: Path, begins: Callable[[], object]) -> None:
    """Train to the end from the newest checkpoint that is whole, or from the start."""
    directory.mkdir(parents=True, exist_ok=True)
    newest = newest_whole_checkpoint(directory)
    if newest is not None:
        check_checkpoint(newest)
    runner = make_runner(
        directory,
        model=Net(dropout=0.3),
        wrapper={**SAM, "optimizer": dict(type="Adam", lr=1e-2)},
        hooks=[dict(type="AUSAMHook")],
        selection=HALF,
        pipeline=[augment, pack],
        epochs=EPOCHS,
        workers=2,
        val=True,
        save=True,
        resume=newest is not None,
        load_from=None if newest is None else str(newest),
        param_scheduler=[dict(type="MultiStepLR", by_epoch=True, milestones=[3, 8], gamma=0.5)],
    )
    begins()
    finish(runner)
    new = directory / (RESULT + ".new")
    torch.save(what_it_came_to(runner), new)
    new.replace(directory / RESULT)


def what_it_came_to(runner: Any) -> dict[str, Any]:
    """Everything that a run of equal bits has equal, all random state of the process included."""
    return dict(
        model=state_of(runner.model),
        optimizer=runner.optim_wrapper.state_dict(),
        selection=hook_of(runner).choice.selection.state_dict(),
        random=capture_random_state(),
    )
