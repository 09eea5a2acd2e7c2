"""Studies with one fault each, for the table of mistakes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools.study_cases import CONFIG, STUDY, write_study

# word: (what stands in the study file, what stands there instead)
FAULTS = {
    "STUDY": ("", ""),
    "STUDY_SETTING": ("start=0.5", "rho=0.5"),
    "STUDY_METHOD": ("rho=0.1", "radius=0.1"),
    "STUDY_SELECTION": ("alpha=0.5", "gamma=0.5"),
    "STUDY_POOR": ("4 * samples", "0.5 * samples"),
    "STUDY_REFERENCE": ('["sgd", "sam"]', '["sgd", "best"]'),
    "STUDY_NO_SEEDS": ("[0, 1]", "[]"),
    "STUDY_NO_CONFIG": ("FOLDER/config.py", "nowhere.py"),
}
RECORD = dict(
    arm="sgd",
    seed=0,
    digest="0" * 16,
    settings={},
    epochs=4,
    passes=400.0,
    score=50.0,
    training_score=60.0,
    training_loss=1.0,
    sharpness=0.1,
    rho=0.05,
    seconds=1.0,
    versions={},
    more={},
)


@contextmanager
def broken_studies(folder: Path) -> Iterator[dict[str, str]]:
    """Paths of the studies by the words that stand for them in the table."""
    paths = {word: write(folder / word, *fault) for word, fault in FAULTS.items()}
    lost = CONFIG.replace("tests/data/cifar10", "/proc/nowhere")
    paths["STUDY_NO_DATA"] = write(folder / "no_data", "", "", lost)
    text = json.dumps(RECORD)
    for word, said in (("STUDY_OTHER_RECORD", text), ("STUDY_CUT_RECORD", text[:100])):
        paths[word] = write(folder / word, "", "")
        records = paths[word].with_suffix("")
        records.mkdir()
        (records / "sgd-0.json").write_text(said)
    paths["STUDY_BUSY"] = write(folder / "busy", "", "")
    paths["STUDY_BUSY"].with_suffix("").mkdir()
    lock = os.open(paths["STUDY_BUSY"].with_suffix(""), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield {word: str(path) for word, path in paths.items()}
    finally:
        os.close(lock)


def write(folder: Path, was: str, instead: str, config: str = CONFIG) -> Path:
    folder.mkdir(parents=True)
    assert was in STUDY
    return write_study(folder, STUDY.replace(was, instead) if was else STUDY, config)
