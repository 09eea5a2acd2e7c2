"""What a batch of augmented images costs: on the device as a batch, and by torchvision one by one.

Both sides end with a normalised fp32 batch on the device, after crop, flip and cutout. Torchvision
has worker processes for it, as its users do; the device needs none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch.utils.data import DataLoader

from .classification import read_training_images
from .public_style import Pictures
from .speed import median_and_quartiles


@dataclass(frozen=True)
class Row:
    """One way of augmenting.

    Attributes:
        name: its name in the table.
        images: images/s: median, first and third quartile over rounds.
        ratio: images/s over torchvision's in the same round, likewise.
    """

    name: str
    images: tuple[float, float, float]
    ratio: tuple[float, float, float]


def measure(cfg: Config, workers: int, rounds: int, batches: int) -> list[Row]:
    """Take turns of ``batches`` batches, of the size that the configuration trains with."""
    size = cfg.train_dataloader.batch_size
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names = [f"torchvision, {workers} workers", "on the device"]
    ways = [_torchvision(cfg, workers, device), _on_device(cfg, device)]
    lead_in = 2 * workers + 1  # what workers had ready while the other had its turn
    speeds: list[list[float]] = [[], []]
    for number in range(rounds):
        for which in (number % 2, 1 - number % 2):
            _seconds(ways[which], lead_in)
            speeds[which].append(batches * size / _seconds(ways[which], batches))
    return [
        Row(
            name,
            median_and_quartiles(own),
            median_and_quartiles([a / b for a, b in zip(own, speeds[0], strict=True)]),
        )
        for name, own in zip(names, speeds, strict=True)
    ]


def format_table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| | images/s | to torchvision |", "| --- | --: | --: |"]
    for row in rows:
        images = "{:,.0f} ({:,.0f}–{:,.0f})".format(*row.images)
        lines.append(f"| {row.name} | {images} | " + "{:.1f} ({:.1f}–{:.1f}) |".format(*row.ratio))
    return "\n".join(lines)


def _seconds(next_batch: Callable[[], object], batches: int) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(batches):
        next_batch()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _on_device(cfg: Config, device: str) -> Callable[[], object]:
    preprocessor = MODELS.build(cfg.model.data_preprocessor).to(device)
    count = len(preprocessor.images(training=True)[1])
    random = torch.Generator().manual_seed(0)

    def next_batch() -> object:
        index = torch.randint(count, (cfg.train_dataloader.batch_size,), generator=random)
        return preprocessor(dict(index=index), training=True)

    return next_batch


def _torchvision(cfg: Config, workers: int, device: str) -> Callable[[], object]:
    images, statistics = read_training_images(cfg), cfg.model.data_preprocessor
    loader = DataLoader(
        Pictures(images.pixels, images.labels, statistics.mean, statistics.std),
        cfg.train_dataloader.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def for_ever() -> Iterator[object]:
        while True:
            for pixels, labels, _ in loader:
                yield pixels.to(device), labels.to(device)

    return for_ever().__next__
