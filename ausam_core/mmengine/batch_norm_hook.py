"""BatchNorm's running statistics from whole training batches, before each evaluation of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from ausam_core.batch_norm_reestimation import reestimate
from ausam_core.random_state import keyed_generator


@HOOKS.register_module()
class BatchNormReestimationHook(Hook):
    """Re-estimates BatchNorm's running statistics before each evaluation.

    It runs when the epoch is over and before its checkpoint is written, so that what is evaluated
    is what is saved. Training itself never looks at running statistics. For any model of MMEngine:
    what is run is its ``mode='tensor'``.

    Args:
        batches: how many random training batches are run.
        compare: evaluate before as well, and log both.
    """

    # after AUSAMHook has kept the random state, before CheckpointHook saves
    priority = "BELOW_NORMAL"

    def __init__(self, batches: int = 50, compare: bool = True) -> None:
        self.batches, self.compare = batches, compare
        self._before: Mapping[str, float] | None = None

    def after_train_epoch(self, runner: Runner) -> None:
        """Re-estimate, if this epoch is evaluated."""
        if not self._evaluates(runner):
            return
        self._before = evaluate(runner) if self.compare else None
        model = inner_model(runner)
        batches = training_batches(runner, self.batches, key=runner.epoch + 1)
        reestimate(model, batches, lambda data: model(**data, mode="tensor"))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log what it has changed."""
        before, self._before = self._before, None
        for name, value in (before or {}).items():
            print_log(
                f"{name}: {value:.2f} before BatchNorm was re-estimated on {self.batches} batches, "
                f"{(metrics or {}).get(name, math.nan):.2f} after",
                logger="current",
            )

    def _evaluates(self, runner: Runner) -> bool:
        """Whether the loop will evaluate after this epoch."""
        loop, epoch = runner.train_loop, runner.epoch + 1
        if runner.val_loop is None or epoch < loop.val_begin:
            return False
        return epoch % loop.val_interval == 0 or epoch == loop.max_epochs


def inner_model(runner: Runner) -> nn.Module:
    """The run's model, without the wrapper of distributed training."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def training_batches(runner: Runner, count: int, key: int) -> Iterator[dict[str, Any]]:
    """Random training batches beside those of the training loop, whole and augmented as there.

    They are drawn from all samples, whatever a selection trains, and alike on every rank; nothing
    of the order that the run itself draws is used.

    Args:
        runner: its training loader says what a batch is.
        count: how many whole batches at most; no sample comes twice.
        key: what is drawn depends on it and the run's seed alone.

    Yields:
        What the model's preprocessor gives, on the model's device: ``inputs`` and what belongs to
        it.
    """
    loader = runner.train_dataloader
    model: Any = inner_model(runner)
    size = getattr(loader.batch_sampler, "batch_size", None) or loader.batch_size
    generator = keyed_generator("re-estimation", runner.seed or 0, key)
    order = torch.randperm(len(loader.dataset), generator=generator)[: count * size]
    if len(order) > size:  # a rest may be one sample, which has no variance
        order = order[: len(order) // size * size]
    for indices in order.split(size):
        batch = loader.collate_fn([loader.dataset[i] for i in indices.tolist()])
        yield model.data_preprocessor(batch, training=True)


def evaluate(runner: Runner) -> dict[str, float]:
    """The metrics of the run's evaluation, without its hooks and log; every rank calls it."""
    loop, was_training = runner.val_loop, runner.model.training
    runner.model.eval()
    for batch in loop.dataloader:
        loop.evaluator.process(data_samples=runner.model.val_step(batch), data_batch=batch)
    runner.model.train(was_training)
    return loop.evaluator.evaluate(len(loop.dataloader.dataset))
