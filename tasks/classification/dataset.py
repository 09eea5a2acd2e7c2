"""A data set that only says which samples there are: the pixels are on the device already."""

from __future__ import annotations

from typing import Any

from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from tasks.classification.readers import read_images


@DATASETS.register_module()
class IndexDataset(Dataset):
    """Gives ``dict(index=i)``; :class:`DevicePreprocessor` gathers and augments.

    So MMEngine's loop, samplers and hooks stay as they are, and a worker process has nothing to do.

    Args:
        name, root, train: see :func:`~tasks.classification.readers.read_images`.
        **kwargs: its other arguments.

    Attributes:
        wrong: see :class:`~tasks.classification.images.Images`.
    """

    #: Augmentation is a function of (seed, epoch, index): nothing is left for AUSAMHook to key.
    is_keyed = True

    def __init__(self, name: str, root: str, train: bool, **kwargs: Any) -> None:
        images = read_images(name, root, train, **kwargs)
        self._size = len(images.pixels)
        self.wrong = images.wrong
        self.metainfo = dict(classes=list(images.classes), name=name)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, i: int) -> dict[str, Any]:
        return dict(index=i)
