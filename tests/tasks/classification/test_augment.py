"""Augmentation on the device: torchvision's distributions, and each sample by itself."""

import pytest
import torch
from torchvision import transforms

from tasks.classification.augment import Augmentation, crop_and_flip, cut_out, normalise, pad
from tasks.classification.keyed_random import random_integers

N, SIDE, PADDING = 4000, 8, 2
NONE = Augmentation(padding=0, flip=False, cutout=0)


def numbered(n=N):
    """Images whose every pixel tells where it came from: 1 + y·side + x, so that 0 is border."""
    pixel = torch.arange(1, SIDE * SIDE + 1, dtype=torch.uint8).view(1, SIDE, SIDE, 1)
    return pixel.expand(n, SIDE, SIDE, 1).contiguous()


def cropped(augmentation, epoch=0, index=None, seed=0):
    index = torch.arange(N) if index is None else index
    padded = pad(numbered(), augmentation.padding)
    return crop_and_flip(padded, index, augmentation, seed, epoch)


def test_without_augmentation_images_come_as_they_are():
    assert torch.equal(cropped(NONE), numbered())


def test_every_crop_and_mirror_of_torchvision_occurs_and_no_other():
    theirs = transforms.Compose(
        [transforms.RandomCrop(SIDE, PADDING), transforms.RandomHorizontalFlip()]
    )
    image = numbered(1)[0].permute(2, 0, 1)
    torch.manual_seed(0)
    possible = {theirs(image).numpy().tobytes() for _ in range(2000)}
    found = {i.numpy().tobytes() for i in cropped(Augmentation(padding=PADDING))}
    assert len(possible) == 2 * 5 * 5 and found == possible


@pytest.mark.parametrize("stream", range(6))
@pytest.mark.parametrize("high", [2, 5, 9])
def test_random_integers_are_uniform(stream, high):
    for epoch in (0, 1, 77):
        counts = random_integers(high, 3, epoch, torch.arange(N), stream).bincount(minlength=high)
        expected = N / high
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert chi_square < 30, counts  # 8 degrees of freedom: one in 5000 exceeds 30


def test_streams_epochs_seeds_and_neighbours_are_independent():
    base = random_integers(1000, 0, 0, torch.arange(N), 0).double()
    others = [
        random_integers(1000, 0, 0, torch.arange(N), 1),
        random_integers(1000, 0, 1, torch.arange(N), 0),
        random_integers(1000, 1, 0, torch.arange(N), 0),
        random_integers(1000, 0, 0, torch.arange(1, N + 1), 0),
    ]
    for other in others:
        both = torch.stack([base, other.double()])
        assert torch.corrcoef(both)[0, 1].abs() < 0.06  # 4 standard errors


def test_a_sample_is_augmented_alike_whatever_else_is_in_its_batch():
    augmentation = Augmentation(padding=PADDING, cutout=4)
    chosen = torch.tensor([5, 900, 3999, 17])

    def images(index):
        found = normalise(cropped(augmentation, index=index), torch.zeros(1), torch.ones(1))
        cut_out(found, index, augmentation, 0, 0)
        return found

    whole = images(torch.arange(N))
    assert torch.equal(images(chosen), whole[chosen])
    assert torch.equal(images(chosen[2:3])[0], whole[3999])


def test_another_epoch_and_another_seed_augment_otherwise():
    augmentation = Augmentation(padding=PADDING)
    first = cropped(augmentation)
    assert not torch.equal(first, cropped(augmentation, epoch=1))
    assert not torch.equal(first, cropped(augmentation, seed=1))
    assert torch.equal(first, cropped(augmentation))


def cut(cutout=4, probability=0.5):
    augmentation = Augmentation(cutout=cutout, cutout_probability=probability)
    images = torch.ones(N, 3, SIDE, SIDE)
    cut_out(images, torch.arange(N), augmentation, 0, 0)
    return images


def test_cutout_is_a_square_around_any_pixel_that_may_lie_over_the_border():
    areas = (cut(probability=1.0)[:, 0] == 0).sum((1, 2))
    sides = torch.tensor([min(c + 2, SIDE) - max(c - 2, 0) for c in range(SIDE)])
    possible = (sides[:, None] * sides[None, :]).flatten()
    assert set(areas.tolist()) == set(possible.tolist())
    assert float(areas.double().mean()) == pytest.approx(float(possible.double().mean()), rel=0.03)


def test_cutout_hits_its_share_of_the_images():
    hit = (cut() == 0).flatten(1).any(1).double().mean()
    assert float(hit) == pytest.approx(0.5, abs=0.03)
    assert (cut(cutout=0) == 1).all()


def test_normalisation_is_torchvisions_in_channels_last_memory():
    pixels = torch.randint(256, (4, 6, 5, 3), dtype=torch.uint8)
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 61.0, 62.0])
    theirs = transforms.Normalize((mean / 255).tolist(), (std / 255).tolist())
    found = normalise(pixels, mean, std)
    torch.testing.assert_close(found, theirs(pixels.permute(0, 3, 1, 2) / 255))
    assert found.is_contiguous(memory_format=torch.channels_last)
