"""Find missing data, loaders that count other images, and a network that does not fit the data,
before a run starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from ausam_core.errors import AusamError
from tasks.classification.images import Images
from tasks.classification.readers import read_images

# Which images of the data preprocessor the numbers of a loader are turned into.
LOADERS = {
    "train_dataloader": "train",
    "trained_dataloader": "train",
    "val_dataloader": "test",
    "test_dataloader": "test",
}


def check_config(cfg: Config) -> None:
    """Check the data of a config, that its loaders and its data preprocessor mean the same images,
    and that its network has as many classes.

    Raises:
        AusamError: see :func:`~tasks.classification.readers.read_images`; where a loader names
            other images than the data preprocessor holds; and where the network gives another
            number of class scores.
    """
    model = cfg.get("model") or {}
    preprocessor = model.get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    for loader, split in LOADERS.items():
        if loader == "trained_dataloader" and not cfg.get("train_dataloader"):
            continue  # whoever tests need not have the training images
        dataset = dict((cfg.get(loader) or {}).get("dataset") or {})
        if dataset.pop("type", None) != "IndexDataset":
            continue
        images = _read(dataset, f"{loader}.dataset")
        if preprocessor.get("type") == "DevicePreprocessor" and split in preprocessor:
            _check_held(images, dataset, loader, preprocessor[split], split)
        classes = len(images.classes)
        found = _number_of_classes(model)
        if found is not None and found != classes:
            raise AusamError(
                f"the network gives {found} class scores, but {dataset['name']} has {classes} "
                f"classes; set model.net.num_classes={classes}"
            )


def _read(settings: Mapping[str, Any], where: str) -> Images:
    try:
        inspect.signature(read_images).bind(**settings)
    except TypeError as error:
        taken = ", ".join(inspect.signature(read_images).parameters)
        raise AusamError(f"{where} does not fit ({error}); its settings are {taken}") from error
    return read_images(**settings)


def _check_held(
    images: Images, dataset: Mapping[str, Any], loader: str, held: Mapping[str, Any], split: str
) -> None:
    """A loader gives numbers alone: where the preprocessor holds other images, they would be
    trained or scored without a word."""
    name = f"model.data_preprocessor.{split}"
    there = _read(held, name)
    if there is images or (
        torch.equal(there.pixels, images.pixels) and torch.equal(there.labels, images.labels)
    ):
        return
    keys = [k for k in {**dataset, **held} if dataset.get(k) != held.get(k)]
    ours, theirs = (
        ", ".join(f"{key}={each[key]}" if key in each else f"no {key}" for key in keys)
        for each in (dataset, held)
    )
    raise AusamError(
        f"{loader}.dataset and {name} name different images ({ours}; {theirs}), and the loader's "
        f"numbers are looked up among the second; set both alike"
    )


def _number_of_classes(model: Mapping[str, Any]) -> int | None:
    """What the config says or, where it says nothing, the network's own default."""
    net = model.get("net") or {}
    if "num_classes" in net or "type" not in net:
        return net.get("num_classes")
    cls = MODELS.get(net["type"]) if isinstance(net["type"], str) else net["type"]
    default = inspect.signature(cls).parameters.get("num_classes") if cls is not None else None
    return default.default if default is not None and isinstance(default.default, int) else None
