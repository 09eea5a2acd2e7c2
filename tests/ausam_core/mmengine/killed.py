"""Runs that are killed in the middle of their third epoch, for ``test_resume``.

``python -m tests.ausam_core.mmengine.killed DIRECTORY`` trains every case in a process of its own,
which ends by ``kill -9``; one program for all, because importing takes longer than training.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from tests.ausam_core.mmengine.tiny import HALF, SAM, Net, Probe, augment, make_runner, pack

ADAM = dict(type="Adam", lr=1e-2)
SCHEDULE = [dict(type="MultiStepLR", by_epoch=True, milestones=[1, 3], gamma=0.5)]
BEFORE = dict(selection=HALF, hook=dict(type="AUSAMHook"))
CASES: dict[str, dict[str, Any]] = {
    "before loading": dict(**BEFORE),
    "before loading, 2 persistent workers": dict(**BEFORE, workers=2),
    "before loading, 2 new workers an epoch": dict(
        **BEFORE, workers=2, loader=dict(persistent_workers=False)
    ),
    "in the loop, stock wrapper": dict(
        wrapper=dict(type="OptimWrapper", optimizer=ADAM),
        hook=dict(type="AUSAMHook", rho=0.1, selection={**HALF, "estimate": "latest"}),
    ),
    "SAM without selection, 2 persistent workers": dict(
        hook=dict(type="AUSAMHook", alpha=1), workers=2
    ),
    "bf16 with a scaler": dict(
        **BEFORE, wrapper={**SAM, "type": "SAMAmpOptimWrapper", "optimizer": ADAM}
    ),
}


class Kill(Hook):
    """``kill -9`` before the eighth iteration: the second of the third epoch."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 7:
            os.kill(os.getpid(), signal.SIGKILL)


def make(name: str, directory: Path, *more_hooks: Hook, **kwargs: Any) -> Any:
    """The runner of a case: dropout in the model, chance in the pipeline and in the validation."""
    case = dict(CASES[name])
    hook = case.pop("hook")
    case.setdefault("wrapper", {**SAM, "optimizer": ADAM})
    loader = case.pop("loader", {})
    runner = make_runner(
        directory,
        model=Net(dropout=0.3),
        hooks=[hook, *more_hooks],
        pipeline=[augment, pack],
        epochs=4,
        val=True,
        save=True,
        param_scheduler=SCHEDULE,
        **case,
        **kwargs,
    )
    runner._train_dataloader.update(loader)
    return runner


def folder(directory: Path, name: str) -> Path:
    return directory / name.replace(" ", "-").replace(",", "")


def main(directory: Path) -> None:
    for name in CASES:
        child = os.fork()
        if child == 0:
            make(name, folder(directory, name), Probe(), Kill()).train()
            os._exit(1)  # it should have been killed
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
