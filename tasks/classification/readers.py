"""Read a data set once, as arrays: CIFAR-10, CIFAR-100, Tiny-ImageNet in their own file layout."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets

from ausam_core.errors import AusamError


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Attributes:
        pixels: ``[n, H, W, 3]``, uint8.
        labels: ``[n]``, int64, in [0, number of classes).
        classes: their names.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]


def read_images(name: str, root: str, train: bool, check_digest: bool = True) -> Images:
    """Read a split; the same arguments give the same object, so a process holds it once.

    Args:
        name: ``"cifar10"``, ``"cifar100"`` or ``"tiny_imagenet"``.
        root: folder that holds ``cifar-10-batches-py``, ``cifar-100-python`` or
            ``tiny-imagenet-200``. CIFAR is fetched into it where it is missing and there is a
            network.
        train: the training split, or the one for evaluation.
        check_digest: hold CIFAR against the digests of its files; a subset needs False.

    Raises:
        AusamError: for an unknown name, and for files that are missing, truncated or not those of
            the data set.
    """
    if name not in _READERS:
        raise AusamError(f"there is no data set {name!r}; there are {', '.join(sorted(_READERS))}")
    return _read(name, str(Path(root)), train, check_digest)


@cache
def _read(name: str, root: str, train: bool, check_digest: bool) -> Images:
    images = _READERS[name](root, train, check_digest)
    n, labels = len(images.pixels), images.labels
    if n == 0 or len(labels) != n or not 0 <= int(labels.min()) <= int(labels.max()):
        raise AusamError(f"{name} in {root} holds {n} images and {len(labels)} labels")
    if int(labels.max()) >= len(images.classes):
        raise AusamError(
            f"{name} in {root} has a label {int(labels.max())}, but {len(images.classes)} classes; "
            "the files do not belong together: fetch them again"
        )
    return images


class _Subset:
    """Mixed into torchvision's CIFAR: take the batch files that are there, whatever is in them."""

    root: Path
    base_folder: str
    train_list: list[list[str]]

    def _check_integrity(self) -> bool:
        folder = Path(self.root, self.base_folder)
        self.train_list = [entry for entry in self.train_list if (folder / entry[0]).is_file()]
        return bool(self.train_list)

    def _load_meta(self) -> None:
        path = Path(self.root, self.base_folder, self.meta["filename"])
        with open(path, "rb") as file:
            self.classes = pickle.load(file, encoding="latin1")[self.meta["key"]]


class _Cifar10Subset(_Subset, datasets.CIFAR10):
    pass


class _Cifar100Subset(_Subset, datasets.CIFAR100):
    pass


def _cifar(whole: type, subset: type) -> Callable[[str, bool, bool], Images]:
    def read(root: str, train: bool, check_digest: bool) -> Images:
        folder = Path(root, whole.base_folder)
        try:
            if check_digest:
                data = whole(root, train=train, download=not folder.is_dir())
            else:
                data = subset(root, train=train)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError) as error:
            reason = " ".join(str(error).split()).replace(
                "You can use download=True to download it", ""
            )
            raise AusamError(
                f"{folder} does not hold {whole.__name__} whole ({reason.strip(' .')}); fetch "
                f"{whole.url}, compare its MD5 {whole.tgz_md5}, and unpack it in {root} (a subset "
                "needs check_digest=False)"
            ) from error
        labels = torch.tensor(data.targets, dtype=torch.int64)
        return Images(torch.from_numpy(data.data), labels, tuple(data.classes))

    return read


def _tiny_imagenet(root: str, train: bool, check_digest: bool) -> Images:
    folder = Path(root, "tiny-imagenet-200")
    try:
        names = tuple((folder / "wnids.txt").read_text().split())
        files = _training_files(folder, names) if train else _validation_files(folder, names)
    except OSError as error:
        raise AusamError(
            f"Tiny-ImageNet is not whole in {folder} ({error}); fetch "
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it there"
        ) from error
    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(_read_image, [path for path, _ in files])))
    return Images(torch.from_numpy(pixels), torch.tensor([label for _, label in files]), names)


def _training_files(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    files = []
    for label, name in enumerate(names):
        found = sorted((folder / "train" / name / "images").iterdir())
        files += [(path, label) for path in found]
    return files


def _validation_files(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    number = {name: label for label, name in enumerate(names)}
    lines = (folder / "val" / "val_annotations.txt").read_text().splitlines()
    rows = (line.split("\t") for line in lines)
    return [(folder / "val" / "images" / row[0], number[row[1]]) for row in rows]


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))  # some are grey
    except OSError as error:
        raise AusamError(f"{path} is missing or truncated ({error}); copy it again") from error


_READERS = {
    "cifar10": _cifar(datasets.CIFAR10, _Cifar10Subset),
    "cifar100": _cifar(datasets.CIFAR100, _Cifar100Subset),
    "tiny_imagenet": _tiny_imagenet,
}
