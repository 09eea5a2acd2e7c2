"""Crop, flip, cutout and normalisation of a whole batch, in a few operators.

The paper's augmentation: random crop with a padding of 4, horizontal flip, normalisation, then
cutout of 16 × 16 with probability 0.5 whose centre is anywhere in the image, so that it may lie
over the border (DeVries and Taylor, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.classification.keyed_random import random_integers

_CROP_Y, _CROP_X, _FLIP, _CUT, _CUT_Y, _CUT_X = range(6)


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        padding: pixels of black around an image, out of which it is cropped; 0 for no crop.
        flip: mirror half of the images.
        cutout: side of the square that is set to the mean; 0 for none.
        cutout_probability: share of the images that get one.
    """

    padding: int = 4
    flip: bool = True
    cutout: int = 16
    cutout_probability: float = 0.5


def pad(pixels: Tensor, padding: int) -> Tensor:
    """``[n, H, W, C]`` uint8 with a black border; done once, so that a crop is a mere gather."""
    return F.pad(pixels, (0, 0, padding, padding, padding, padding)) if padding else pixels


def crop_and_flip(
    padded: Tensor, index: Tensor, augmentation: Augmentation, seed: int, epoch: int
) -> Tensor:
    """Gather randomly cropped and mirrored images.

    Args:
        padded: all images with their border, ``[n, H+2p, W+2p, C]``, uint8.
        index: ``[K]``, int64, on the same device.
        augmentation: what is done.
        seed, epoch: key of the random numbers.

    Returns:
        ``[K, H, W, C]``, uint8.
    """
    shifts = 2 * augmentation.padding + 1
    height, width = padded.shape[1] - shifts + 1, padded.shape[2] - shifts + 1
    rows = torch.arange(height, device=index.device).expand(len(index), height)
    columns = torch.arange(width, device=index.device).expand(len(index), width)
    if augmentation.flip:
        mirrored = random_integers(2, seed, epoch, index, _FLIP)[:, None] == 1
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if augmentation.padding:
        rows = rows + random_integers(shifts, seed, epoch, index, _CROP_Y)[:, None]
        columns = columns + random_integers(shifts, seed, epoch, index, _CROP_X)[:, None]
    return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``[K, H, W, C]`` uint8 to fp32 ``[K, C, H, W]`` in channels-last memory.

    Args:
        mean, std: ``[C]``, in units of a pixel value (0 to 255).
    """
    return images.float().sub_(mean).div_(std).permute(0, 3, 1, 2)


def cut_out(
    images: Tensor, index: Tensor, augmentation: Augmentation, seed: int, epoch: int
) -> None:
    """Set a square of some images to 0, the mean, in place.

    Args:
        images: normalised, ``[K, C, H, W]``.
        index, augmentation, seed, epoch: see :func:`crop_and_flip`.
    """
    if not augmentation.cutout:
        return
    height, width = images.shape[2:]
    half, steps = augmentation.cutout // 2, 1 << 20
    chosen = random_integers(steps, seed, epoch, index, _CUT)
    chosen = chosen < int(augmentation.cutout_probability * steps)
    y = random_integers(height, seed, epoch, index, _CUT_Y)[:, None]
    x = random_integers(width, seed, epoch, index, _CUT_X)[:, None]
    rows = torch.arange(height, device=index.device)
    columns = torch.arange(width, device=index.device)
    in_rows = (rows >= y - half) & (rows < y + half) & chosen[:, None]
    in_columns = (columns >= x - half) & (columns < x + half)
    images.masked_fill_((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0.0)
