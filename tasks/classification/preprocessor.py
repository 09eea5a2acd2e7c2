"""From the numbers of samples to a batch on the device."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, is_model_wrapper
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from torch import Tensor

from tasks.classification.augment import Augmentation, crop_and_flip, cut_out, normalise, pad
from tasks.classification.readers import read_images


@MODELS.register_module()
class DevicePreprocessor(BaseDataPreprocessor):
    """Gathers images that live on the device and augments them as a batch.

    The pixels are no part of the state: a checkpoint does not hold them.

    Args:
        train, test: which data, as for :class:`~tasks.classification.dataset.IndexDataset` (without
            ``type``); training takes the first, evaluation the second.
        mean, std: of each channel, in units of a pixel value (0 to 255).
        augmentation: settings of :class:`~tasks.classification.augment.Augmentation`.
        size: side of the images that the network gets, where it is not their own: bilinear, after
            crop, flip and cutout.
        seed: key of the augmentation; :class:`AugmentationHook` sets it to the run's.
    """

    def __init__(
        self,
        train: Mapping[str, Any],
        test: Mapping[str, Any],
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Mapping[str, Any] | None = None,
        size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.augmentation = Augmentation(**(augmentation or {}))
        self.size, self.seed, self.epoch = size, seed, 0
        self._sources = {True: dict(train), False: dict(test)}
        self._held: dict[bool, tuple[Tensor, Tensor]] = {}
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)

    def forward(self, data: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Gather a batch.

        Args:
            data: ``dict(index=LongTensor[K])``.
            training: take the training split, and augment it.

        Returns:
            ``inputs``: fp32 ``[K, 3, H, W]`` in channels-last memory; ``labels``: int64 ``[K]``.
        """
        pixels, labels = self.images(training)
        index = data["index"].to(self.mean.device, non_blocking=True)
        if training:
            key = self.seed, self.epoch
            images = crop_and_flip(pixels, index, self.augmentation, *key)
            images = normalise(images, self.mean, self.std)
            cut_out(images, index, self.augmentation, *key)
        else:
            images = normalise(pixels[index], self.mean, self.std)
        if self.size is not None and images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear")
        return dict(inputs=images, labels=labels[index])

    def images(self, training: bool) -> tuple[Tensor, Tensor]:
        """All images of a split as they lie on the device; read at the first call.

        Args:
            training: which split; its images carry the padding that crops are cut from.

        Returns:
            Pixels, uint8 ``[N, H, W, C]``, and labels, int64 ``[N]``.
        """
        device = self.mean.device
        held = self._held.get(training)
        if held is None or held[0].device != device:
            images = read_images(**self._sources[training])
            pixels = pad(images.pixels, self.augmentation.padding if training else 0)
            held = pixels.to(device), images.labels.to(device)
            self._held[training] = held
        return held

    def of_training_images(self) -> DevicePreprocessor:
        """A twin that evaluates on the training images, without augmentation."""
        twin = copy.copy(self)
        twin._sources, twin._held = dict.fromkeys((True, False), self._sources[True]), {}
        return twin


@HOOKS.register_module()
class AugmentationHook(Hook):
    """Tells the data preprocessor the run's seed and the epoch."""

    def before_train_epoch(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.data_preprocessor.epoch = runner.epoch
        model.data_preprocessor.seed = runner.seed or 0
