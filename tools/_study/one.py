"""One run, in this process: train, measure, write the record."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import train

from _study.config import configure, digest_of
from _study.measure import ResultHook, at_the_end, passes_spent, versions
from _study.record import Record, write_record
from _study.study import Arm, Study


def make_run(study: Study, arm: Arm, seed: int, work_dir: Path) -> Record:
    """Train one arm with one seed as ``tools/train.py`` trains, and write its record.

    Args:
        study, arm, seed: what is run.
        work_dir: folder for log and checkpoint; what lies there is removed.

    Raises:
        AusamError: for whatever tools/train.py refuses.
        WrongStudyError: where the study is wrong about the number of training samples or the
            metric; before the first step, if one batch of evaluation can be scored.
    """
    started = time.monotonic()
    cfg = configure(study, arm, seed)
    digest = digest_of(cfg)
    shutil.rmtree(work_dir, ignore_errors=True)
    work_dir.mkdir(parents=True)
    cfg.dump(work_dir / "config.py")
    runner = train.make_runner([str(work_dir / "config.py"), "--work-dir", str(work_dir)])
    result_hook = ResultHook(study)
    runner.register_hook(result_hook)
    runner.train()
    result_hook.check_metric(result_hook.metrics)
    record = Record(
        arm=arm.name,
        seed=seed,
        digest=digest,
        settings=arm.settings,
        epochs=runner.max_epochs,
        passes=passes_spent(runner),
        score=float(result_hook.metrics[study.metric]),
        **at_the_end(cfg, runner, study.metric, study.rho),
        seconds=round(time.monotonic() - started, 1),
        versions=versions(),
        more=result_hook.more,
        metric=study.metric,
    )
    write_record(study, record)
    return record


def end_with_parent() -> None:
    """Leave at once when the process that started this one is gone, however it went.

    That one holds the other end of a pipe, this one's standard input: its end is the end of the
    file. So a run that nobody counts any more does not go on beside its own repetition.
    """

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
