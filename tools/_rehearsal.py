"""Evaluate one batch before the first epoch, so that a mistake there does not cost an epoch.

Whatever is wrong with an evaluation is found when it is run, after an epoch of minutes or hours: a
``save_best`` that names no metric, a file that the metric reads, a head with another number of
joints. The hook runs one batch of the validation through model and metrics when everything is built
and loaded, and compares the names that come out with those that hooks and schedulers ask for.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import Runner, ValLoop, autocast
from mmengine.runner.loops import _update_losses
from torch.utils.data import DataLoader

from ausam_core.errors import AusamError


class RehearsalHook(Hook):
    """Finds before the first step what would end the run at its first evaluation.

    Random state, the mode of the model and the loaders are left as they were.

    Attributes:
        metrics: of that batch; None until it was scored, or where it cannot be.

    Raises:
        AusamError: the evaluation of one batch fails, or a name is asked for that it does not give.
    """

    priority = "LOWEST"  # when the model is what will be trained: loaded, resumed, calibrated
    metrics: dict[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Called by MMEngine when everything is in place."""
        loop = runner.val_loop
        if type(loop) is not ValLoop or loop.dataloader.batch_sampler is None:
            return  # no evaluation, or one that this hook cannot know
        self.metrics = rehearse(runner)
        if self.metrics is not None:
            check_names(runner, self.metrics)


def rehearse(runner: Runner) -> dict[str, Any] | None:
    """Metrics of the first validation batch, or None where the metric cannot score so few."""
    loop, model = runner.val_loop, runner.model
    was_training = model.training
    model.eval()
    try:
        with _random_state_kept(), torch.no_grad():
            batch, size = _first_batch(loop.dataloader)
            with autocast(enabled=loop.fp16):
                outputs = model.val_step(batch)
            outputs, _ = _update_losses(outputs, {})
            loop.evaluator.process(data_samples=outputs, data_batch=batch)
    except AusamError:
        raise
    except Exception as error:
        what = (str(error).splitlines() or [""])[0]
        raise AusamError(
            "the evaluation of one batch of val_dataloader fails, so that this run would end at "
            f"its first: {type(error).__name__}: {what}"
        ) from error
    finally:
        model.train(was_training)
    try:
        return loop.evaluator.evaluate(size * get_world_size())
    except Exception as error:  # some metrics need more than a batch; then nothing is known
        runner.logger.info(
            f"One batch cannot be scored ({error!r}); the evaluation is not checked."
        )
        for metric in loop.evaluator.metrics:
            metric.results.clear()
        return None


def asked_for(runner: Runner) -> Iterator[tuple[str, str]]:
    """Who asks for which metric by name."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            for name in hook.save_best or []:
                if name != "auto":
                    yield "CheckpointHook's save_best", name
        elif isinstance(hook, EarlyStoppingHook):
            yield "EarlyStoppingHook's monitor", hook.monitor
    schedulers = runner.param_schedulers or []
    groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    for scheduler in (s for group in groups for s in group):
        if hasattr(scheduler, "monitor"):
            yield f"{type(scheduler).__name__}'s monitor", scheduler.monitor


def check_names(runner: Runner, metrics: dict[str, Any]) -> None:
    """Refuse a name that no evaluation of this run gives.

    Raises:
        AusamError: with the names that there are, the most similar one first.
    """
    for who, name in asked_for(runner):
        if name not in metrics and "loss" not in name:  # losses join the metrics in some models
            near = difflib.get_close_matches(name, metrics, n=1, cutoff=0)
            others = [other for other in metrics if other not in near]
            raise AusamError(
                f"{who} is {name!r}, but the evaluation gives {', '.join([*near, *others])}; "
                "name one of them"
            )


def _first_batch(loader: DataLoader) -> tuple[Any, int]:
    """The first batch, made here: asking the loader would start its workers."""
    indices = next(iter(loader.batch_sampler))
    return loader.collate_fn([loader.dataset[i] for i in indices]), len(indices)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(of_python)
    np.random.set_state(of_numpy)
