"""The run that ``test_kills`` kills: ``python -m tests.survive.run DIRECTORY``.

Dropout, augmentation by three generators, two loader workers, validation, a checkpoint an epoch. It
resumes what it finds, and writes what it came to when it ends.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from ausam_core.mmengine import check_checkpoint, newest_whole_checkpoint
from ausam_core.mmengine.random_state import capture_random_state
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


def train(directory: Path) -> None:
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
    print("begun", flush=True)
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]))
