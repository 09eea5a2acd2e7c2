"""Find missing and broken data before a run starts, not in a worker of epoch 3."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from scipy.io import loadmat

from ausam_core.errors import AusamError

from .images import END_MARKER, TAIL, is_truncated

MINI_CONFIG = "configs/simcc_mpii_ausam_mini.py"
WHERE = (
    "MPII images come from http://human-pose.mpi-inf.mpg.de, the annotation files from the MPII "
    "section of MMPose's documentation of 2D body datasets"
)
MAX_OPENED = (
    2000  # files whose end is looked at; enough to find a broken copy, quick on network disks
)


def check_config(cfg: Config) -> None:
    """Check every MPII-like dataset that a config trains, validates or tests on.

    Raises:
        AusamError: as :func:`check_dataset`.
    """
    seen = []
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        for dataset in _mpii_datasets(loader.get("dataset") if loader else None):
            key = [dataset.get(k) for k in ("data_root", "ann_file", "headbox_file", "data_prefix")]
            if key not in seen:
                seen.append(key)
                check_dataset(dataset)


def check_dataset(dataset: Mapping[str, Any]) -> None:
    """Check that the files which an `MpiiDataset` config names are there and whole.

    The annotation and head box files are read, images are looked up in one listing of their folder,
    and of up to `MAX_OPENED` of them, spread over the list, the last bytes are looked at.

    Args:
        dataset: config of the dataset: `ann_file`, and where given `data_root`, `data_prefix`,
            `headbox_file`. A remote path (one with ``://``) is left to the reader.

    Raises:
        AusamError: a file is missing, incomplete or broken; the message names it.
    """
    root = dataset.get("data_root") or ""
    ann_file = os.path.normpath(os.path.join(root, dataset["ann_file"]))
    if "://" in root or "://" in dataset["ann_file"]:
        return
    names = _image_names(ann_file)
    if dataset.get("headbox_file"):
        _check_head_boxes(os.path.normpath(dataset["headbox_file"]), ann_file, len(names))
    prefix = (dataset.get("data_prefix") or {}).get("img") or ""
    _check_images(os.path.normpath(os.path.join(root, prefix)), sorted(set(names)), ann_file)


def _mpii_datasets(node: Any) -> Iterator[Mapping[str, Any]]:
    """The MPII-like dataset configs in a config, inside wrappers such as ConcatDataset too."""
    if isinstance(node, Mapping):
        name = node.get("type", "")
        name = name if isinstance(name, str) else name.__name__
        if name.endswith("MpiiDataset"):
            yield node
        else:
            yield from _mpii_datasets([node.get("dataset"), *(node.get("datasets") or [])])
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _mpii_datasets(item)


def _missing(what: str) -> AusamError:
    return AusamError(f"{what}. {WHERE}; {MINI_CONFIG} trains without any download.")


def _image_names(ann_file: str) -> list[str]:
    """The image of each person."""
    try:
        persons = json.loads(Path(ann_file).read_text())
        return [person["image"] for person in persons]
    except FileNotFoundError:
        raise _missing(f"Annotation file {ann_file} is not there") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _missing(f"Annotation file {ann_file} is no whole MPII list ({error!r})") from error


def _check_head_boxes(mat_file: str, ann_file: str, persons: int) -> None:
    try:
        boxes = loadmat(mat_file)["headboxes_src"].shape[-1]
    except FileNotFoundError:
        raise _missing(f"Head box file {mat_file} is not there") from None
    except Exception as error:  # scipy raises many kinds for a truncated file
        raise _missing(f"Head box file {mat_file} cannot be read ({error!r})") from error
    if boxes != persons:
        raise _missing(
            f"Head box file {mat_file} has {boxes} persons and {ann_file} has {persons}, so they "
            "do not belong together"
        )


def _check_images(folder: str, names: list[str], ann_file: str) -> None:
    try:
        present = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(f"Image folder {folder} is not there") from None
    absent = [name for name in names if name not in present]
    if absent:
        raise _missing(
            f"Image {os.path.join(folder, absent[0])} is not there ({len(absent)} of the "
            f"{len(names)} images of {ann_file} are missing)"
        )
    for name in names[:: -(-len(names) // MAX_OPENED) or 1]:
        path = Path(folder, name)
        if not _is_whole(path):
            raise AusamError(
                f"Image {path}, named in {ann_file}, is empty or truncated; copy it again."
            )


def _is_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        if END_MARKER in file.read():
            return True
    return size > 0 and not is_truncated(path.read_bytes())
