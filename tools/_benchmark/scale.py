"""What a selection costs as the data set grows: time of a batch, time of an epoch's end, memory.

A training step costs the same whatever the data set's size is, if selecting and recording do. They
touch K numbers of a table of n; what grows with n is the table and the one merge an epoch.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch

from ausam_core import GradientNormSelection, StepResult
from ausam_core.random_state import keyed_generator


@dataclass(frozen=True)
class Scale:
    """One data set size.

    Attributes:
        samples: n.
        select_us: microseconds to choose from one batch, median.
        record_us: microseconds to record one batch, median.
        merge_ms: milliseconds to end an epoch in which the measured batches were trained.
        bytes_per_sample: the table, for each sample.
    """

    samples: int
    select_us: float
    record_us: float
    merge_ms: float
    bytes_per_sample: float


def measure(samples: int, batch_size: int = 128, batches: int = 400) -> Scale:
    """Select from and record ``batches`` batches of a data set of ``samples`` samples."""
    selection = GradientNormSelection(samples, alpha=0.5, start_epoch=1)
    generator = keyed_generator("batches", 0, 1, 0)
    random = torch.Generator().manual_seed(1)
    plan = torch.randint(samples, (batches, batch_size), generator=random)
    selecting, recording = [], []
    for indices in plan:
        started = time.perf_counter()
        kept = selection.select(indices, 1, generator)
        chosen = indices[kept].tolist()
        selecting.append(time.perf_counter() - started)
        after = torch.rand(len(chosen), generator=random)
        zero = torch.zeros(())
        result = StepResult(zero, torch.zeros_like(after), after, zero, torch.tensor(True))
        started = time.perf_counter()
        selection.record(chosen, result)
        recording.append(time.perf_counter() - started)
    started = time.perf_counter()
    selection.end_epoch()
    merging = time.perf_counter() - started
    return Scale(
        samples,
        1e6 * float(torch.tensor(selecting).median()),
        1e6 * float(torch.tensor(recording).median()),
        1e3 * merging,
        selection.scores.nbytes / samples,
    )


def format_table(rows: list[Scale]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "|     samples | select µs | record µs | merge ms | bytes/sample |",
        "| ----------: | --------: | --------: | -------: | -----------: |",
    ]
    lines += [
        f"| {row.samples:>11,} | {row.select_us:>9.0f} | {row.record_us:>9.0f} "
        f"| {row.merge_ms:>8.1f} | {row.bytes_per_sample:>12.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def as_json(rows: list[Scale]) -> list[dict]:
    """The rows as plain values."""
    return [asdict(row) for row in rows]
