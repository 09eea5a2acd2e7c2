"""Find missing, broken and odd data before a run starts, not in a worker of epoch 3."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from PIL import Image, UnidentifiedImageError
from scipy.io import loadmat

from ausam_core.errors import AusamError

from .annotations import examine
from .images import END_MARKER, TAIL, is_truncated
from .mpii import ZeroBasedMpiiDataset
from .own_data import load_own_data
from .persons import Annotations, read_annotations

MINI_CONFIG = "configs/simcc_mpii_ausam_mini.py"
WHERE = (
    "MPII images come from http://human-pose.mpi-inf.mpg.de, the annotation files from the MPII "
    "section of MMPose's documentation of 2D body datasets"
)
OWN = "OwnPoseDataset"
# Files whose end is looked at; enough to find a broken copy, quick on network disks.
MAX_OPENED = 2000
ORIENTATION = 0x0112  # EXIF; 5 to 8 are a quarter turn


def check_config(cfg: Config) -> None:
    """Check every MPII list and every data set of the user's that a config trains or scores on.

    Faulty persons that the data sets pass over are reported in one line for each kind.

    Raises:
        AusamError: as :func:`check_dataset`, or the model has another number of joints.
    """
    seen = []
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        for dataset in _known_datasets(loader.get("dataset") if loader else None):
            keys = ("data_root", "ann_file", "headbox_file", "data_prefix", "joints")
            key = [dataset.get(k) for k in keys]
            if key not in seen:
                seen.append(key)
                _check_head(cfg, dataset, check_dataset(dataset))


def check_dataset(dataset: Mapping[str, Any]) -> int | None:
    """Check that the files which a data set's config names are there and whole.

    Annotations and head boxes are read, images are looked up in one listing of their folder, and of
    up to `MAX_OPENED` of them, spread over the list, the last bytes and the size are looked at.
    What is odd and passed over is printed as warnings.

    Args:
        dataset: config of an `OwnPoseDataset` or of a data set whose type ends in `MpiiDataset`:
            `ann_file`, and where given `data_root`, `data_prefix`, `headbox_file`, `joints`. A
            remote path (one with ``://``) is left to the reader.

    Returns:
        The number of joints, or None for a remote file.

    Raises:
        AusamError: a file is missing, incomplete or broken, or persons in it cannot be trained on;
            the message names the file, how many, and the first.
    """
    root = dataset.get("data_root") or ""
    if "://" in root or "://" in dataset["ann_file"]:
        return None
    ann_file = os.path.normpath(os.path.join(root, dataset["ann_file"]))
    annotations, joints = _read(dataset, ann_file)
    if dataset.get("headbox_file"):
        persons = len(annotations.persons)
        _check_head_boxes(os.path.normpath(dataset["headbox_file"]), ann_file, persons)
    prefix = (dataset.get("data_prefix") or {}).get("img") or ""
    folder = os.path.normpath(os.path.join(root, prefix))
    names = sorted({person.image for person in annotations.persons if person.image})
    hint = _own_hint if _type(dataset) == OWN else _missing
    if _type(dataset) != OWN:
        _check_numbers(names, ann_file)
    _check_images(folder, names, ann_file, hint)
    sizes = dict(_look_at(folder, names, ann_file))
    _report(annotations, sizes, ann_file, cleans=_type(dataset) != "MpiiDataset")
    return joints


def _read(dataset: Mapping[str, Any], ann_file: str) -> tuple[Annotations, int]:
    if _type(dataset) == OWN and not dataset.get("metainfo"):
        if not Path(ann_file).is_file():
            raise _own_hint(f"Annotation file {ann_file} is not there")
        annotations, meta = load_own_data(ann_file, dataset.get("joints"), dataset.get("links"))
        return annotations, len(meta["keypoint_info"])
    joints = ZeroBasedMpiiDataset._load_metainfo(dataset.get("metainfo"))["num_keypoints"]
    try:
        annotations = read_annotations(ann_file, joints)
    except AusamError as error:
        raise (_own_hint if _type(dataset) == OWN else _missing)(str(error)) from None
    return annotations, joints


def _report(
    annotations: Annotations, sizes: Mapping[str, tuple[int, int]], ann_file: str, cleans: bool
) -> None:
    """Print what is passed over; stop at what cannot be."""
    findings = examine(annotations, sizes, cleans)
    for finding in findings:
        if finding.is_fatal:
            raise AusamError(f"{ann_file}: {finding.sentence()}; correct or remove them")
    if not any(person.is_trainable() for person in annotations.persons):
        raise AusamError(f"{ann_file}: no person can be trained on ({findings[0].sentence()})")
    if os.environ.get("RANK", "0") == "0":
        for finding in findings:
            if not finding.is_usual:
                print(f"warning: {ann_file}: {finding.sentence()}", flush=True)


def _check_head(cfg: Config, dataset: Mapping[str, Any], joints: int | None) -> None:
    """Compare the joints of the data with those of the model, where nothing converts between."""
    head = (cfg.get("model") or {}).get("head") or {}
    key = "out_channels" if "out_channels" in head else "num_joints"
    pipeline = dataset.get("pipeline") or []
    converts = any(_type(step) == "KeypointConverter" for step in pipeline)
    if joints is not None and key in head and head[key] != joints and not converts:
        raise AusamError(
            f"{dataset['ann_file']} has {joints} joints, but model.head.{key} is {head[key]}; set "
            f"it to {joints}"
        )


def _type(config: Mapping[str, Any]) -> str:
    kind = config.get("type", "")
    return kind if isinstance(kind, str) else kind.__name__


def _known_datasets(node: Any) -> Iterator[Mapping[str, Any]]:
    """The data set configs that can be checked, inside wrappers such as ConcatDataset too."""
    if isinstance(node, Mapping):
        if _type(node).endswith("MpiiDataset") or _type(node) == OWN:
            yield node
        else:
            yield from _known_datasets([node.get("dataset"), *(node.get("datasets") or [])])
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _known_datasets(item)


def _own_hint(what: str) -> AusamError:
    return AusamError(f"{what}; docs/own_pose_data.md says what a data set of your own looks like.")


def _missing(what: str) -> AusamError:
    return AusamError(f"{what}. {WHERE}; {MINI_CONFIG} trains without any download.")


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


def _check_numbers(names: list[str], ann_file: str) -> None:
    """MMPose's `MpiiDataset` makes an integer of an image's name."""
    other = [name for name in names if not name.split(".")[0].isdigit()]
    if other:
        raise AusamError(
            f"{ann_file} names the image {other[0]}, but images of MPII are numbers (000001.jpg); "
            f"for data of your own use the data set type {OWN} (configs/simcc_custom.py)"
        )


def _check_images(
    folder: str, names: list[str], ann_file: str, hint: Callable[[str], AusamError]
) -> None:
    """Look all images up; one listing a folder, since asking for each is slow on network disks."""
    wanted = defaultdict(list)
    for name in names:
        wanted[os.path.dirname(name)].append(name)
    absent = []
    for inner, inside in wanted.items():
        path = os.path.join(folder, inner)
        try:
            present = set(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            raise hint(f"Image folder {os.path.normpath(path)} is not there") from None
        absent += [name for name in inside if os.path.basename(name) not in present]
    if absent:
        raise hint(
            f"Image {os.path.join(folder, absent[0])} is not there ({len(absent)} of the "
            f"{len(names)} images of {ann_file} are missing)"
        )


def _look_at(folder: str, names: list[str], ann_file: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Width and height of up to `MAX_OPENED` images, spread over the list, each of them whole."""
    for name in names[:: -(-len(names) // MAX_OPENED) or 1]:
        path = Path(folder, name)
        if not _is_whole(path):
            raise AusamError(
                f"Image {path}, named in {ann_file}, is empty or truncated; copy it again."
            )
        try:
            with Image.open(path) as image:
                turned = image.getexif().get(ORIENTATION, 1) >= 5  # the reader turns it upright
                yield name, image.size[::-1] if turned else image.size
        except (UnidentifiedImageError, OSError):  # a format that only the reader knows
            continue


def _is_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        if END_MARKER in file.read():
            return True
    return size > 0 and not is_truncated(path.read_bytes())
