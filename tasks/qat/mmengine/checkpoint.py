"""A trained quantized classifier from its checkpoint alone: the configuration stands in it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint
from tasks.classification import read_images
from tasks.qat.mmengine.classifier import QuantizedClassifier


def load_classifier(
    path: str | Path, options: Mapping[str, Any] | None = None
) -> QuantizedClassifier:
    """Build the classifier that a checkpoint of ``tools/train.py`` holds, in evaluation mode.

    Args:
        path: the checkpoint.
        options: settings to override, as ``--cfg-options``; where the data is, for example.

    Raises:
        AusamError: for a file that is missing or truncated, without a configuration, with another
            kind of model, or whose weights do not fit it.
    """
    checkpoint, cfg = _read(path, options)
    for name in cfg.get("custom_imports", {}).get("imports", []):
        importlib.import_module(name)
    if cfg.model.type != "QuantizedClassifier":
        raise AusamError(
            f"{path} holds a {cfg.model.type}, not a quantized network; train one with a config of "
            "configs/qat"
        )
    model = MODELS.build(cfg.model)
    missing, unexpected = model.load_state_dict(checkpoint["state_dict"], strict=False)
    if missing or unexpected:
        raise AusamError(
            f"the weights in {path} do not fit its configuration: {(missing + unexpected)[0]} is "
            f"{'missing' if missing else 'too many'}; the checkpoint was put together by hand"
        )
    model.net.check_steps()
    return model.eval()


def data_facts(path: str | Path, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What whoever runs the network must know of its data, for a file: as JSON, by name.

    Args:
        path, options: as for :func:`load_classifier`.

    Returns:
        ``mean`` and ``std`` of the pixel values (0 to 255), RGB, and the names of the ``classes``.
    """
    settings = _read(path, options)[1].model.data_preprocessor
    classes = read_images(**settings.test).classes
    facts = dict(mean=list(settings.mean), std=list(settings.std), classes=list(classes))
    return {name: json.dumps(value) for name, value in facts.items()}


def _read(path: str | Path, options: Mapping[str, Any] | None) -> tuple[dict[str, Any], Config]:
    """A checkpoint and the configuration in it."""
    check_checkpoint(path)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    text = (checkpoint.get("meta") or {}).get("cfg")
    if not text:
        raise AusamError(f"{path} holds no configuration; give a checkpoint of tools/train.py")
    cfg = Config.fromstring(text, ".py")
    cfg.merge_from_dict(dict(options or {}))
    return checkpoint, cfg


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
