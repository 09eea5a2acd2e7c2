"""A real MMEngine run that trains a few iterations at a time, so that several can take turns.

    trainee = Trainee("SAM", cfg)
    trainee.advance(10).seconds      # ten iterations, loader and hooks included

Everything is built by ``Runner.train()`` itself, from the configuration; only the loop is in hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import LOOPS, TRANSFORMS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ausam_core.batch_parts import batch_length
from ausam_core.mmengine import AUSAMHook

from .memory import LiveMemory


class _Prepared(Exception):
    """Leaves ``Runner.train()`` when all is built and nothing has been trained."""


@LOOPS.register_module()
class SteppedLoop(EpochBasedTrainLoop):
    """MMEngine's epoch loop, one iteration at a time.

    Args:
        first_epoch: Where to begin. AUSAM trains whole batches in epoch 0 and selects from 1 on.
    """

    def __init__(self, *args, first_epoch: int = 1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._epoch = first_epoch
        self._iter = first_epoch * len(self.dataloader)
        self.data_seconds = 0.0

    def run(self) -> None:
        """Called by ``Runner.train()`` once everything is built."""
        self.runner.call_hook("before_train")
        self.steps = self._step_for_ever()
        raise _Prepared

    def _step_for_ever(self) -> Iterator[dict]:
        """Train; yields the batch after each iteration, when all hooks have had their turn."""
        while True:
            started = time.perf_counter()  # an epoch that begins is time spent on data, too
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()
            for index, batch in enumerate(self.dataloader):
                self.data_seconds += time.perf_counter() - started
                self.run_iter(index, batch)
                yield batch
                started = time.perf_counter()
            self.runner.call_hook("after_train_epoch")
            self._epoch += 1


@TRANSFORMS.register_module()
class Remembered:
    """A data pipeline whose first results are given again and again.

    Takes reading, decoding and augmenting out of a measurement; batches are still collated.

    Args:
        pipeline: Configuration of the real pipeline.
        held: How many different results are kept.
    """

    def __init__(self, pipeline: list, held: int = 64) -> None:
        self.pipeline, self.held = Compose(pipeline), held
        self.kept: dict[int, dict] = {}

    def __call__(self, data_info: dict) -> dict:
        place = data_info["sample_idx"] % self.held
        if place not in self.kept:
            self.kept[place] = self.pipeline(data_info)
        kept = self.kept[place]
        # A sample of its own, because it will be told its index.
        return {**kept, "data_samples": kept["data_samples"].new()}


@dataclass(frozen=True)
class Progress:
    """What a number of iterations did.

    Attributes:
        seconds: Wall time, the device's work included.
        data_seconds: Of these, waiting for the loader.
        images: Images of the batches, chosen or not.
        trained: Images that were trained.
    """

    seconds: float
    data_seconds: float
    images: int
    trained: int


class Trainee:
    """One run among those that are compared.

    Args:
        name: Its name in the table.
        cfg: Configuration of a training run, prepared by :func:`_benchmark.variants.prepare`.

    Attributes:
        peak_bytes: Highest memory of this run alone, from its model to its second iteration.
    """

    def __init__(self, name: str, cfg: Config) -> None:
        self.name = name
        self.batch_size: int = cfg.train_dataloader.batch_size
        with LiveMemory() as memory:
            self.runner = Runner.from_cfg(cfg)
            with suppress(_Prepared):
                self.runner.train()
            self.loop: SteppedLoop = self.runner.train_loop
            hooks = [hook for hook in self.runner.hooks if isinstance(hook, AUSAMHook)]
            self._hook = hooks[0] if hooks else None
            self.advance(2)  # the optimizer's state is made in the first
        self.peak_bytes = memory.peak_bytes

    def advance(self, iterations: int) -> Progress:
        """Train so many iterations and measure them."""
        loop = self.loop
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        data_seconds, images, trained = loop.data_seconds, 0, 0
        started = time.perf_counter()
        for _ in range(iterations):
            in_epoch = loop.iter % len(loop.dataloader)
            whole = min(self.batch_size, self._epoch_images() - in_epoch * self.batch_size)
            trained += batch_length(next(loop.steps)) or 0
            # The hook knows for how many a batch stands, InfoBatch's full ones for more than K.
            planned = self._hook.batch if self._hook else None
            images += planned.size if planned else whole
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        return Progress(seconds, loop.data_seconds - data_seconds, images, trained)

    def _epoch_images(self) -> int:
        return len(self.loop.dataloader.dataset)
