"""A part of a data set, and labels made wrong on purpose, for studies on small or noisy data."""

from __future__ import annotations

from dataclasses import replace

import torch

from ausam_core.errors import AusamError
from tasks.classification.images import Images

_SEED = 0  # every run, whatever its own seed, has the same wrong labels


def take_part(images: Images, part: tuple[int, int]) -> Images:
    """The images from number ``part[0]`` up to, and without, ``part[1]``, in the order of the
    files.

    Raises:
        AusamError: for a part that is empty or reaches beyond the data.
    """
    begin, end = part
    size = len(images.labels)
    if not 0 <= begin < end <= size:
        raise AusamError(
            f"part must be [begin, end] with 0 <= begin < end <= {size}, the number of images; "
            f"found [{begin}, {end}]"
        )
    return replace(images, pixels=images.pixels[begin:end], labels=images.labels[begin:end])


def make_wrong(images: Images, share: float) -> Images:
    """Give a share of the images another label than theirs, each other class alike (symmetric
    noise).

    Args:
        images: the data set.
        share: in [0, 1); exactly ``round(share · n)`` labels are wrong afterwards.

    Returns:
        The data set, with ``wrong`` saying which labels those are.

    Raises:
        AusamError: for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise AusamError(f"wrong_labels is a share in [0, 1), found {share}")
    size, classes = len(images.labels), len(images.classes)
    generator = torch.Generator().manual_seed(_SEED)
    chosen = torch.randperm(size, generator=generator)[: round(share * size)]
    shift = torch.randint(1, classes, (len(chosen),), generator=generator)
    labels, wrong = images.labels.clone(), torch.zeros(size, dtype=torch.bool)
    labels[chosen] = (labels[chosen] + shift) % classes
    wrong[chosen] = True
    return replace(images, labels=labels, wrong=wrong)
