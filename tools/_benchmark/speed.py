"""How fast base optimizer, SAM and the two forms of AUSAM train, measured in turns.

All runs live in one process and take short turns in an order that rotates, so that whatever else
the machine does hits them alike. A turn begins with iterations that are not measured: they use up
what the loader prepared while others had their turn. Ratios are taken within a round.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from _cores import usable_cores

from .trainee import Progress, Trainee

MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One run over all rounds; every pair of quartiles is the spread over rounds.

    Attributes:
        name: Name of the run.
        batch_size: Images in a whole batch.
        images: Images/s of the whole batches: median, first and third quartile.
        trained: Trained images/s, likewise.
        to_sam: Images/s over SAM's in the same round, likewise.
        to_base: Images/s over the base optimizer's in the same round, likewise.
        data_ms: Milliseconds an iteration waits for the loader, likewise.
        peak_mib: Highest memory of the tensors of this run alone; 0 where it was not measured.
        rounds: Images/s of each round.
    """

    name: str
    batch_size: int
    images: tuple[float, float, float]
    trained: tuple[float, float, float]
    to_sam: tuple[float, float, float]
    to_base: tuple[float, float, float]
    data_ms: tuple[float, float, float]
    peak_mib: float
    rounds: list[float]

    @property
    def step_ms(self) -> float:
        """Milliseconds of a step, median."""
        return 1e3 * self.batch_size / self.images[0]


def median_and_quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, first and third quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def lead_in(trainee: Trainee) -> int:
    """Iterations until a turn is past what its loader had ready."""
    loader = trainee.loop.dataloader
    return loader.num_workers * (loader.prefetch_factor or 0) + 1


def take_turns(
    trainees: Sequence[Trainee],
    rounds: int,
    iterations: int,
    warmup: int,
    announce: Callable[[str], None] = lambda text: None,
) -> list[list[Progress]]:
    """Measure ``rounds`` turns of ``iterations`` iterations of every run.

    Returns:
        For each run, its turns in the order of the rounds.
    """
    for trainee in trainees:
        announce(f"warm-up: {trainee.name}")
        trainee.advance(warmup)
    turns: list[list[Progress]] = [[] for _ in trainees]
    for number in range(rounds):
        announce(f"round {number + 1} of {rounds}")
        for place in range(len(trainees)):
            which = (number + place) % len(trainees)
            trainees[which].advance(lead_in(trainees[which]))
            turns[which].append(trainees[which].advance(iterations))
    return turns


def summarise(
    trainees: Sequence[Trainee], turns: list[list[Progress]], iterations: int
) -> list[Row]:
    """One row a run; the first is the base optimizer, the second SAM."""
    speeds = [[turn.images / turn.seconds for turn in run] for run in turns]

    def ratio(which: int, to: int) -> tuple[float, float, float]:
        return median_and_quartiles([a / b for a, b in zip(speeds[which], speeds[to], strict=True)])

    return [
        Row(
            name=trainee.name,
            batch_size=trainee.batch_size,
            images=median_and_quartiles(speeds[which]),
            trained=median_and_quartiles([turn.trained / turn.seconds for turn in run]),
            to_sam=ratio(which, 1),
            to_base=ratio(which, 0),
            data_ms=median_and_quartiles([1e3 * turn.data_seconds / iterations for turn in run]),
            peak_mib=trainee.peak_bytes / MIB,
            rounds=speeds[which],
        )
        for which, (trainee, run) in enumerate(zip(trainees, turns, strict=True))
    ]


def format_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table: median, and quartiles where they matter."""
    header = ("", "batch", "images/s", "trained/s", "to SAM", "to base", "data ms", "peak MiB")
    cells = [header, ("---",) + ("--:",) * (len(header) - 1)]
    for row in rows:
        cells.append(
            (
                row.name,
                str(row.batch_size),
                "{:.1f} ({:.1f}–{:.1f})".format(*row.images),
                f"{row.trained[0]:.1f}",
                "{:.2f} ({:.2f}–{:.2f})".format(*row.to_sam),
                "{:.2f} ({:.2f}–{:.2f})".format(*row.to_base),
                f"{row.data_ms[0]:.1f}",
                f"{row.peak_mib:.0f}" if row.peak_mib else "–",
            )
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    lines = []
    for line in cells:
        if line[0] == "---":
            filled = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
        else:
            filled = [line[0].ljust(widths[0])]
            filled += [cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True)]
        lines.append("| " + " | ".join(filled) + " |")
    return "\n".join(lines)


def describe_machine() -> str:
    """Processor or GPU, threads, versions: what numbers cannot be compared without."""
    device = f"{usable_cores()} CPU cores ({processor()})"
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()}, {device}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{device}, {torch.get_num_threads()} threads, {versions}"


def processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(
                line.split(":")[1].strip() for line in info if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
