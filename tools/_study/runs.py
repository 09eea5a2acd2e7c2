"""All runs of a study that are missing, a few at a time, each in a process of its own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from _common import ROOT, check_task
from _counted import counted

from _study.config import configure
from _study.progress import Progress
from _study.record import path_of, read_record, read_records
from _study.study import Arm, Study
from ausam_core.errors import AusamError

_SCRIPT = ROOT / "tools/study.py"
WRONG_STUDY = 3
"""Exit code of a run that ended with a mistake of the whole study."""
_POLL = 0.2  # seconds between two looks at the runs


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder; it ends with the process, however that ends.

    Raises:
        AusamError: while another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AusamError(
                f"another run of this study is at work in {folder}; wait for its end or stop it"
            ) from error
        except OSError:  # some network disks lock no folders
            pass
        yield
    finally:
        os.close(handle)


@dataclass
class _Job:
    arm: Arm
    seed: int
    process: subprocess.Popen
    log: Path


def run_study(
    study: Study, arms: Sequence[Arm], seeds: Sequence[int], workers: int, work_dir: Path
) -> None:
    """Make the runs that are missing. What has been recorded stays, whatever happens.

    Args:
        study: the study.
        arms, seeds: which of its runs.
        workers: how many at a time; each computes with one thread.
        work_dir: where runs log and leave their last checkpoint.

    Raises:
        AusamError: for a mistake in the study, before anything runs or with the first run that
            finds it; and at the end, where runs failed, naming them.
    """
    with alone_in(study.folder):
        for partial in study.folder.glob(".*.partial"):
            partial.unlink()
        have = {(r.arm, r.seed): r for r in read_records(study)}
        asked = [(arm, seed) for seed in seeds for arm in arms]
        for arm in arms:  # a mistake in the last arm is better known before the first has run
            check_task(configure(study, arm, seeds[0]))
        missing = [(arm, seed) for arm, seed in asked if (arm.name, seed) not in have]
        progress = Progress(
            total=len(asked),
            planned={(arm.name, seed): study.budget * arm.times for arm, seed in missing},
            workers=workers,
            done=[have[arm.name, seed] for arm, seed in asked if (arm.name, seed) in have],
        )
        print(
            f"{study.name}: {counted(len(asked), 'run')}, {len(missing)} missing; "
            f"{progress.remaining()}",
            flush=True,
        )
        _make(study, missing, workers, work_dir, progress)


def _make(
    study: Study,
    missing: list[tuple[Arm, int]],
    workers: int,
    work_dir: Path,
    progress: Progress,
) -> None:
    waiting, running, failed = list(missing), [], []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = _start(study, *waiting.pop(0), work_dir)
                running.append(job)
                progress.begin(job.arm.name, job.seed)
            time.sleep(_POLL)
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                path = path_of(study, job.arm.name, job.seed)
                if job.process.returncode == 0 and path.is_file():
                    print(progress.line(read_record(path)), flush=True)
                    continue
                if job.process.returncode == WRONG_STUDY:
                    raise AusamError(
                        f"{_last_line(job.log)}; no other run is made (the whole log is {job.log})"
                    )
                failed.append(job)
                progress.drop(job.arm.name, job.seed)
                print(f"{job.arm.name} seed {job.seed} failed: {_last_line(job.log)}", flush=True)
    finally:
        for job in running:
            job.process.kill()
            job.process.wait()
    if failed:
        names = ", ".join(f"{job.arm.name}-{job.seed}" for job in failed)
        raise AusamError(
            f"{len(failed)} of {len(missing)} runs failed ({names}): {_last_line(failed[0].log)} "
            f"(the whole log is {failed[0].log})"
        )


def _start(study: Study, arm: Arm, seed: int, work_dir: Path) -> _Job:
    folder = work_dir / study.name / f"{arm.name}-{seed}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    command = [sys.executable, str(_SCRIPT), "one", str(study.path), arm.name, str(seed)]
    command += ["--work-dir", str(work_dir), "--end-with-parent"]
    with open(log, "w") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            # Its other end closes when this process ends, see end_with_parent.
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return _Job(arm, seed, process, log)


def _last_line(log: Path) -> str:
    with suppress(OSError, IndexError):
        return log.read_text(errors="replace").strip().splitlines()[-1].removeprefix("error: ")
    return "it left no word"
