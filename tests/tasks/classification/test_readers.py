"""Data sets in their own file layout, and what is said when they are not whole."""

import pickle
import shutil
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from ausam_core import AusamError
from tasks.classification.readers import _read, read_images

SAMPLE = Path(__file__).parents[2] / "data" / "cifar10"
FOLDER = "cifar-10-batches-py"


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(SAMPLE / FOLDER, tmp_path / FOLDER)
    yield tmp_path
    _read.cache_clear()


def read(root, **settings):
    return read_images("cifar10", str(root), **{"train": True, "check_digest": False, **settings})


@pytest.mark.parametrize(("train", "size"), [(True, 250), (False, 100)])
def test_the_sample_is_read_with_all_classes(train, size):
    images = read(SAMPLE, train=train)
    assert images.pixels.shape == (size, 32, 32, 3) and images.pixels.dtype.itemsize == 1
    assert images.labels.bincount().tolist() == [size // 10] * 10
    assert images.classes[:2] == ("airplane", "automobile")


def test_a_process_holds_it_once():
    assert read(SAMPLE) is read(SAMPLE)


def test_the_pixels_are_those_of_torchvision(copy):
    with open(copy / FOLDER / "test_batch", "rb") as file:
        raw = pickle.load(file, encoding="latin1")["data"]
    images = read(copy, train=False)
    assert np.array_equal(images.pixels.permute(0, 3, 1, 2).reshape(100, -1).numpy(), raw)


def test_a_subset_has_another_digest_and_is_refused_unless_told():
    with pytest.raises(
        AusamError, match="MD5 c58f30108f718f92721af3b95e74349a.*check_digest=False"
    ):
        read(SAMPLE, check_digest=True)


def test_a_truncated_file_is_refused(copy):
    path = copy / FOLDER / "data_batch_1"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AusamError, match="does not hold CIFAR10 whole"):
        read(copy)


@pytest.mark.parametrize("label", [10, -1])
def test_labels_out_of_range_are_refused(copy, label):
    path = copy / FOLDER / "data_batch_1"
    batch = pickle.loads(path.read_bytes(), encoding="latin1")
    batch["labels"][3] = label
    path.write_bytes(pickle.dumps(batch))
    with pytest.raises(AusamError, match=f"label {label}, but 10 classes"):
        read(copy)


def test_of_two_processes_one_fetches_and_the_other_waits(tmp_path, monkeypatch):
    """A download that takes its time, in the place of torchvision's."""

    def fetch(self):
        folder = tmp_path / FOLDER
        with open(tmp_path / "fetched", "a") as file:
            file.write("x")
        folder.mkdir()  # from here on another process sees a folder that is not whole
        for path in (SAMPLE / FOLDER).iterdir():
            time.sleep(0.1)
            shutil.copy(path, folder)

    def whole(self):
        folder = tmp_path / FOLDER
        self.train_list = self.train_list[:1]
        return all((folder / path.name).is_file() for path in (SAMPLE / FOLDER).iterdir())

    monkeypatch.setattr(CIFAR10, "download", fetch)
    monkeypatch.setattr(CIFAR10, "_check_integrity", whole)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    fork = get_context("fork")
    ranks = [fork.Process(target=read, args=(tmp_path,), kwargs=dict(check_digest=True))]
    ranks += [fork.Process(target=read, args=(tmp_path,), kwargs=dict(check_digest=True))]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(30)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    assert (tmp_path / "fetched").read_text() == "x"


def test_an_unknown_data_set_lists_those_there_are():
    with pytest.raises(AusamError, match="there are cifar10, cifar100, tiny_imagenet"):
        read_images("mnist", "data", True)


@pytest.fixture
def tiny(tmp_path):
    """Two classes in Tiny-ImageNet's layout; one training image is grey, as 216 of 12,000 are."""
    root = tmp_path / "tiny-imagenet-200"
    for name in ("n01", "n02"):
        folder = root / "train" / name / "images"
        folder.mkdir(parents=True)
        for i in range(3):
            colour = Image.new("L" if i == 0 else "RGB", (64, 64), 60 * i)
            colour.save(folder / f"{name}_{i}.JPEG")
    (root / "wnids.txt").write_text("n01\nn02\n")
    (root / "val" / "images").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(root / "val" / "images" / "val_0.JPEG")
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t62\t62\n")
    yield tmp_path
    _read.cache_clear()


def read_tiny(root, train=True, check_digest=False):
    return read_images("tiny_imagenet", str(root), train, check_digest)


def test_tiny_imagenet_is_read_with_grey_images_in_three_channels(tiny):
    train, test = read_tiny(tiny), read_tiny(tiny, train=False)
    assert train.pixels.shape == (6, 64, 64, 3) and train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [1]


def test_a_tiny_imagenet_that_lacks_images_is_refused_unless_told(tiny):
    with pytest.raises(AusamError, match="6 images and not 100000.*check_digest=False"):
        read_tiny(tiny, check_digest=True)
    for path in (tiny / "tiny-imagenet-200" / "train").rglob("*.JPEG"):
        path.unlink()
    with pytest.raises(AusamError, match="not whole.*0 images"):
        read_tiny(tiny)


def test_a_truncated_image_is_named(tiny):
    path = tiny / "tiny-imagenet-200" / "train" / "n02" / "images" / "n02_1.JPEG"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(AusamError, match="n02_1.JPEG is missing or truncated"):
        read_tiny(tiny)


def test_an_image_of_another_size_is_named(tiny):
    path = tiny / "tiny-imagenet-200" / "train" / "n02" / "images" / "n02_1.JPEG"
    Image.new("RGB", (32, 64)).save(path)
    with pytest.raises(AusamError, match="n02_1.JPEG has 32 x 64 pixels and not 64 x 64"):
        read_tiny(tiny)


@pytest.mark.parametrize("line", ["val_0.JPEG\tn77\t0\t0\t62\t62", "val_0.JP", ""])
def test_a_validation_image_without_a_known_class_is_refused(tiny, line):
    path = tiny / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    path.write_text(f"{line}\n")
    with pytest.raises(AusamError, match="val_annotations.txt has no known class in"):
        read_tiny(tiny, train=False)


def test_missing_tiny_imagenet_says_where_it_is(tmp_path):
    with pytest.raises(AusamError, match="tiny-imagenet-200.zip"):
        read_tiny(tmp_path)
