"""A part of a data set, and labels made wrong on purpose."""

from pathlib import Path

import pytest
import torch

from ausam_core import AusamError
from tasks.classification import IndexDataset, read_images

SAMPLE = dict(
    name="cifar10",
    root=str(Path(__file__).parents[2] / "data/cifar10"),
    train=True,
    check_digest=False,
)


def test_a_part_is_the_images_from_begin_to_end_in_the_order_of_the_files():
    whole, part = read_images(**SAMPLE), read_images(**SAMPLE, part=[40, 100])
    assert torch.equal(part.pixels, whole.pixels[40:100])
    assert torch.equal(part.labels, whole.labels[40:100])
    assert len(IndexDataset(**SAMPLE, part=[40, 100])) == 60


@pytest.mark.parametrize("part", [[0, 0], [5, 4], [-1, 4], [0, 251]])
def test_a_part_that_is_empty_or_beyond_the_data_is_refused(part):
    with pytest.raises(AusamError, match="250, the number of images; found"):
        read_images(**SAMPLE, part=part)


@pytest.mark.parametrize(("share", "count"), [(0.4, 100), (0.01, 2), (0.0, 0)])
def test_exactly_that_share_of_the_labels_is_wrong_and_named(share, count):
    true, noisy = read_images(**SAMPLE).labels, read_images(**SAMPLE, wrong_labels=share)
    assert int((noisy.labels != true).sum()) == count
    if share:
        assert torch.equal(noisy.labels != true, noisy.wrong)
        assert torch.equal(IndexDataset(**SAMPLE, wrong_labels=share).wrong, noisy.wrong)


def test_wrong_labels_are_the_same_in_every_run_and_spread_over_the_other_classes():
    noisy = read_images(**SAMPLE, wrong_labels=0.9)
    again = read_images(**{**SAMPLE, "root": SAMPLE["root"] + "/."}, wrong_labels=0.9)
    assert torch.equal(noisy.labels, again.labels)
    shift = (noisy.labels - read_images(**SAMPLE).labels)[noisy.wrong] % 10
    assert shift.unique().tolist() == list(range(1, 10))


@pytest.mark.parametrize("share", [1.0, -0.1])
def test_a_share_of_wrong_labels_outside_0_to_1_is_refused(share):
    with pytest.raises(AusamError, match=f"share in .0, 1., found {share}"):
        read_images(**SAMPLE, wrong_labels=share)
