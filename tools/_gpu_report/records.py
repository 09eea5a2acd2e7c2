"""Parts that are run once: each leaves a record that is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from _common import ROOT

from ausam_core.errors import AusamError

from .parts import Part

Record = dict[str, Any]


def run_parts(
    parts: Iterable[Part], out: Path, machine: str, minutes: float | None, cpu: bool
) -> list[Record]:
    """Run what has no record yet, until the time is used up.

    Args:
        parts: in their order.
        out: folder of the records.
        machine: what they are measured on; a record of another machine is refused.
        minutes: no part is begun after so many, and none runs longer than twice as many.
        cpu: hide the GPUs.

    Returns:
        A record a part; ``status`` is done, failed, skipped or left.

    Raises:
        AusamError: the folder holds a record of another machine, or of another command.
    """
    parts = list(parts)
    for part in parts:  # before any is run
        _read(part, out, machine)
    started, records = time.monotonic(), []
    for number, part in enumerate(parts, start=1):
        record = _read(part, out, machine)
        if record is None and part.skip:
            record = dict(name=part.name, status="skipped", why=part.skip)
        if record is None:
            if minutes is not None and time.monotonic() - started > 60 * minutes:
                record = dict(name=part.name, status="left")
            else:
                print(f"{number} of {len(parts)}: {part.name}", flush=True)
                record = _run(part, out, machine, minutes, cpu)
        records.append(record)
    return records


def _run(part: Part, out: Path, machine: str, minutes: float | None, cpu: bool) -> Record:
    folder = out / "parts" / part.name
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if cpu else {})}
    record: Record = dict(
        name=part.name, command=_shown(part), digest=_digest(part), machine=machine
    )
    began = time.monotonic()
    with (folder / "log.txt").open("a") as log:
        limit = None if minutes is None else 120 * minutes
        try:
            code = subprocess.run(
                part.argv(folder), cwd=ROOT, env=env, stdout=log, stderr=log, timeout=limit
            ).returncode
        except subprocess.TimeoutExpired:
            code = f"it was stopped after {limit:.0f} seconds"
    record["seconds"] = round(time.monotonic() - began, 1)
    try:
        record["result"] = part.read(folder)
    except Exception as error:  # an aborted command leaves anything behind
        code = code or f"its result cannot be read ({type(error).__name__})"
    if code != 0:
        lines = (folder / "log.txt").read_text().strip().splitlines()
        record.update(status="failed", why=f"{code}: {lines[-1][:300] if lines else 'no output'}")
        return record  # not kept: the same command tries again
    record["status"] = "done"
    write(out / "parts" / f"{part.name}.json", json.dumps(record, indent=2) + "\n")
    return record


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    new = path.with_suffix(path.suffix + ".new")
    new.write_text(text)
    new.replace(path)


def _read(part: Part, out: Path, machine: str) -> Record | None:
    path = out / "parts" / f"{part.name}.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise AusamError(f"the record {path} is not whole; remove it to run it again") from error
    for key, here in (("machine", machine), ("digest", _digest(part))):
        if record.get(key) != here:
            raise AusamError(
                f"the record {path} is of another {'machine' if key == 'machine' else 'command'}; "
                "name another folder with --out, or remove it to run it again"
            )
    return record


def _shown(part: Part) -> str:
    return " ".join(("python", *part.command))


def _digest(part: Part) -> str:
    return hashlib.sha256(_shown(part).encode()).hexdigest()[:16]
