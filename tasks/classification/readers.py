"""Read a data set once, as arrays: CIFAR-10, CIFAR-100, Tiny-ImageNet in their own file layout."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import datasets

from ausam_core.errors import AusamError
from tasks.classification.altered import make_wrong, take_part
from tasks.classification.images import Images


def read_images(
    name: str,
    root: str,
    train: bool,
    check_digest: bool = True,
    part: Sequence[int] | None = None,
    wrong_labels: float = 0.0,
) -> Images:
    """Read a split; the same arguments give the same object, so a process holds it once.

    Args:
        name: ``"cifar10"``, ``"cifar100"`` or ``"tiny_imagenet"``.
        root: folder that holds ``cifar-10-batches-py``, ``cifar-100-python`` or
            ``tiny-imagenet-200``. CIFAR is fetched into it where it is missing and there is a
            network.
        train: the training split, or the one for evaluation.
        check_digest: hold CIFAR against the digests of its files, and Tiny-ImageNet, which has
            none, against its number of images; a subset needs False.
        part: ``[begin, end]``: only these images, see
            :func:`~tasks.classification.altered.take_part`.
        wrong_labels: share of the labels that is made wrong, see
            :func:`~tasks.classification.altered.make_wrong`.

    Raises:
        AusamError: for an unknown name, and for files that are missing, truncated or not those of
            the data set.
    """
    if name not in _READERS:
        raise AusamError(f"there is no data set {name!r}; there are {', '.join(sorted(_READERS))}")
    source = name, str(Path(root)), train, check_digest
    if part is None and not wrong_labels:
        return _read(*source)
    return _altered(*source, None if part is None else tuple(part), wrong_labels)


@cache
def _altered(
    name: str,
    root: str,
    train: bool,
    check_digest: bool,
    part: tuple[int, int] | None,
    wrong_labels: float,
) -> Images:
    images = _read(name, root, train, check_digest)
    if part is not None:
        images = take_part(images, part)
    return make_wrong(images, wrong_labels) if wrong_labels else images


@cache
def _read(name: str, root: str, train: bool, check_digest: bool) -> Images:
    images = _READERS[name](root, train, check_digest)
    n, labels, classes = len(images.pixels), images.labels, len(images.classes)
    if n == 0 or len(labels) != n:
        raise AusamError(
            f"{name} in {root} holds {n} images and {len(labels)} labels; fetch it again"
        )
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise AusamError(
            f"{name} in {root} has a label {int(wrong[0])}, but {classes} classes; the files do "
            "not belong together: fetch them again"
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


@contextmanager
def _one_process_at_a_time(root: str) -> Iterator[None]:
    """Hold a lock on a folder, so that of the ranks of a machine one fetches and the rest wait."""
    Path(root).mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks lock no folders
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _cifar(whole: type, subset: type) -> Callable[[str, bool, bool], Images]:
    def read(root: str, train: bool, check_digest: bool) -> Images:
        folder = Path(root, whole.base_folder)
        try:
            if check_digest:
                with _one_process_at_a_time(root):
                    if not folder.is_dir():
                        whole(root, train=train, download=True)
                data = whole(root, train=train)
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


_TINY_SIDE = 64
_TINY_SIZE = {True: 100_000, False: 10_000}


def _tiny_imagenet(root: str, train: bool, check_digest: bool) -> Images:
    folder = Path(root, "tiny-imagenet-200")
    try:
        names = tuple((folder / "wnids.txt").read_text().split())
        files = _training_files(folder, names) if train else _validation_files(folder, names)
    except OSError as error:
        raise _not_whole(folder, str(error)) from error
    if not files or (check_digest and len(files) != _TINY_SIZE[train]):
        raise _not_whole(folder, f"{len(files)} images and not {_TINY_SIZE[train]}")
    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(_read_image, [path for path, _ in files])))
    return Images(torch.from_numpy(pixels), torch.tensor([label for _, label in files]), names)


def _not_whole(folder: Path, found: str) -> AusamError:
    return AusamError(
        f"Tiny-ImageNet is not whole in {folder} ({found}); fetch "
        f"http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it in {folder.parent} (a "
        "subset needs check_digest=False)"
    )


def _training_files(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    files = []
    for label, name in enumerate(names):
        found = sorted((folder / "train" / name / "images").iterdir())
        files += [(path, label) for path in found]
    return files


def _validation_files(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    number = {name: label for label, name in enumerate(names)}
    files = []
    for line in (folder / "val" / "val_annotations.txt").read_text().splitlines():
        image, _, rest = line.partition("\t")
        name = rest.partition("\t")[0]
        if name not in number:
            raise _not_whole(folder, f"val_annotations.txt has no known class in {line[:40]!r}")
        files.append((folder / "val" / "images" / image, number[name]))
    return files


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))  # some are grey
    except OSError as error:
        raise AusamError(f"{path} is missing or truncated ({error}); copy it again") from error
    if pixels.shape[:2] != (_TINY_SIDE, _TINY_SIDE):
        height, width = pixels.shape[:2]
        raise AusamError(f"{path} has {width} x {height} pixels and not 64 x 64; copy it again")
    return pixels


_READERS = {
    "cifar10": _cifar(datasets.CIFAR10, _Cifar10Subset),
    "cifar100": _cifar(datasets.CIFAR100, _Cifar100Subset),
    "tiny_imagenet": _tiny_imagenet,
}
