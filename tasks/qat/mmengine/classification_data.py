"""The images and labels that a quantized classifier was trained and is tested on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import torch
from torch import Tensor

from tasks.classification import read_images
from tasks.qat.mmengine.classifier import QuantizedClassifier


def data_facts(model: QuantizedClassifier) -> dict[str, str]:
    """What whoever runs the network must know of its data, for a file: as JSON, by name.

    Args:
        model: of :func:`~tasks.qat.mmengine.checkpoint.load_quantized`.

    Returns:
        ``mean`` and ``std`` of the pixel values (0 to 255), RGB, and the names of the ``classes``.
    """
    settings = model.cfg.model.data_preprocessor
    classes = read_images(**settings.test).classes
    facts = dict(mean=list(settings.mean), std=list(settings.std), classes=list(classes))
    return {name: json.dumps(value) for name, value in facts.items()}


def test_batches(
    model: QuantizedClassifier, images: int | None = None, size: int = 250
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Normalised test images ``[N, C, H, W]``, their labels ``[N]``, and their pixels, uint8
    ``[N, H, W, C]``.

    Args:
        model: its preprocessor knows the data.
        images: how many of them; all by default.
        size: of a batch.
    """
    pixels, _ = model.data_preprocessor.images(training=False)
    count = len(pixels)
    count = count if images is None else min(images, count)
    for indices in torch.arange(count).split(size):
        batch = model.data_preprocessor(dict(index=indices), training=False)
        yield batch["inputs"].contiguous(), batch["labels"], pixels[indices]


def training_batches(
    model: QuantizedClassifier, images: int, size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Random training images ``[size, C, H, W]``, augmented, and their labels ``[size]``.

    Args:
        model: its preprocessor knows the data.
        images: how many at most; whole batches only.
        size: of a batch.
        generator: draws them.
    """
    _, labels = model.data_preprocessor.images(training=True)
    order = torch.randperm(len(labels), generator=generator)[:images]
    for indices in order.split(size):
        if len(indices) == size:
            batch = model.data_preprocessor(dict(index=indices), training=True)
            yield batch["inputs"], batch["labels"]
