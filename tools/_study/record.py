"""The record of a run: one JSON file, there whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from _study.config import configure, digest_of
from _study.study import Arm, Study
from ausam_core.errors import AusamError


@dataclass(frozen=True)
class Record:
    """What a run came to.

    Attributes:
        arm, seed: whose run it is.
        digest: of its configuration.
        settings: of its arm.
        epochs: how long it was.
        passes: sample passes that training spent, as counted by the method.
        score: the study's metric after the last epoch, on the data of evaluation.
        training_score: the same on the training samples, without augmentation.
        training_loss: mean loss on the training samples, without augmentation.
        sharpness: by how much that loss rises at distance ``rho`` along its gradient, mean over
            batches.
        rho: that distance.
        seconds: of the whole run, start and evaluation included.
        versions: of what it ran on.
        more: what only some studies measure.
        metric: which metric the scores are; records of earlier versions do not say it.
    """

    arm: str
    seed: int
    digest: str
    settings: dict[str, Any]
    epochs: int
    passes: float
    score: float
    training_score: float
    training_loss: float
    sharpness: float
    rho: float
    seconds: float
    versions: dict[str, str]
    more: dict[str, float] = field(default_factory=dict)
    metric: str | None = None


def path_of(study: Study, arm: str, seed: int) -> Path:
    """Where the record of a run lies."""
    return study.folder / f"{arm}-{seed}.json"


def write_record(study: Study, record: Record) -> None:
    """Write a record whole or not at all, whatever happens meanwhile."""
    path = path_of(study, record.arm, record.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w") as file:
        json.dump(asdict(record), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name itself is on the disk
    finally:
        os.close(folder)


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        AusamError: where the file is truncated or something else.
    """
    try:
        said = json.loads(path.read_text())
        if {"metric", *said} != {f.name for f in fields(Record)}:
            raise ValueError(f"it has {', '.join(said)}")
    except (ValueError, AttributeError) as error:
        raise AusamError(
            f"{path} is truncated or no record ({error}); delete it, and its run is made again"
        ) from error
    return Record(**said)


def read_records(study: Study) -> list[Record]:
    """All records of a study, by arm and seed.

    Raises:
        AusamError: for a record that is no record, of an arm that the study does not have, of
            another configuration than the arm has now, or of another metric or ρ of sharpness than
            the study has now.
    """
    records = []
    for path in sorted(study.folder.glob("*.json")):
        record = read_record(path)
        if record.arm not in study.arms or path != path_of(study, record.arm, record.seed):
            raise AusamError(
                f"{path} is a record of arm {record.arm}, seed {record.seed}, which is not what "
                f"its name says or no arm of {study.path}; delete it or put the arm back"
            )
        arm = study.arms[record.arm]
        changed = _difference(study, arm, record)
        if changed:
            raise AusamError(
                f"{path} was made with another configuration than {study.path} and {study.config} "
                f"say now ({changed}); restore it, or delete the record, and the run is made again"
            )
        records.append(record)
    order = list(study.arms)
    return sorted(records, key=lambda record: (order.index(record.arm), record.seed))


def _difference(study: Study, arm: Arm, record: Record) -> str | None:
    """What is no longer as it was when the record was made; None where nothing is."""
    if record.metric not in (None, study.metric):
        return f"metric was {record.metric} and is {study.metric}"
    if record.rho != study.rho:
        return f"rho, at which sharpness is measured, was {record.rho} and is {study.rho}"
    if record.digest == digest_of(configure(study, arm, record.seed)):
        return None
    now = json.loads(json.dumps(arm.settings))
    for name in now.keys() | record.settings.keys():
        was = record.settings.get(name)
        if was != now.get(name):
            return f"{name} was {was} and is {now.get(name)}"
    return "the arm is the same, so it is the config or the budget"
