"""Training batches beside those of the training loop: for calibration and re-estimation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn


def inner_model(runner: Runner) -> nn.Module:
    """The run's model, without the wrapper of distributed training."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def training_batches(runner: Runner, count: int, key: int) -> Iterator[Tensor]:
    """Random training images, augmented as in training, whole batches.

    They are drawn from all samples, whatever a selection trains, and alike on every rank; nothing
    of the run's own random state is used.

    Args:
        runner: its training loader says what a batch is.
        count: how many batches at most; no image comes twice.
        key: what is drawn depends on it and the run's seed alone.

    Yields:
        Normalised images ``[N, C, H, W]`` on the model's device.
    """
    loader, model = runner.train_dataloader, inner_model(runner)
    size = getattr(loader.batch_sampler, "batch_size", None) or loader.batch_size
    generator = torch.Generator().manual_seed((runner.seed or 0) * 1_000_003 + key)
    order = torch.randperm(len(loader.dataset), generator=generator)[: count * size]
    for indices in order.split(size):
        batch = loader.collate_fn([loader.dataset[i] for i in indices.tolist()])
        yield model.data_preprocessor(batch, training=True)["inputs"]
