"""Find missing data and a network that does not fit it before a run starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from ausam_core.errors import AusamError
from tasks.classification.readers import read_images


def check_config(cfg: Config) -> None:
    """Check the data of a config, and that its network has as many classes.

    Raises:
        AusamError: see :func:`~tasks.classification.readers.read_images`; and where the network
            gives another number of class scores.
    """
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        dataset = dict(loader["dataset"]) if loader else {}
        if dataset.pop("type", None) != "IndexDataset":
            continue
        classes = len(read_images(**dataset).classes)
        found = _number_of_classes(cfg.get("model") or {})
        if found is not None and found != classes:
            raise AusamError(
                f"the network gives {found} class scores, but {dataset['name']} has {classes} "
                f"classes; set model.net.num_classes={classes}"
            )


def _number_of_classes(model: Mapping[str, Any]) -> int | None:
    """What the config says or, where it says nothing, the network's own default."""
    net = model.get("net") or {}
    if "num_classes" in net or "type" not in net:
        return net.get("num_classes")
    cls = MODELS.get(net["type"]) if isinstance(net["type"], str) else net["type"]
    default = inspect.signature(cls).parameters.get("num_classes") if cls is not None else None
    return default.default if default is not None and isinstance(default.default, int) else None
