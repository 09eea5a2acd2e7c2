"""How long a run may take, and what of it fits: measured first, then kept to the end.

speed = measure(cfg)                              # images/s, in a few steps of the real training
plan = choose(cfg, speed, minutes=6, images=1500, val_images=150)
fit(cfg, plan.epochs, steps=47)                   # schedule, evaluations and checkpoints
"""

from __future__ import annotations

import copy
import json
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from _counted import counted
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ausam_core.errors import AusamError

STEPS, WARM_UP = 10, 3  # the first steps start a worker, allocate and tune
EVALUATIONS = 5  # of a run, the last at its end
# An image is evaluated as it is and mirrored, in forward passes alone; trained, it is half an image
# (alpha) in two forward and two backward passes of twice their cost.
COST_OF_EVALUATION = 2 / 3


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        epochs: how many it trains.
        of: how many the configuration asks for.
        images_per_second: as measured, or None where nobody asked for a time.
        minutes: how long it will take by that speed.
    """

    epochs: int
    of: int
    images_per_second: float | None = None
    minutes: float | None = None

    def sentence(self, expected: str | None = None) -> str:
        """What is measured and what follows, for the person who waits."""
        text = f"training {self.epochs} of {self.of} epochs"
        if self.epochs >= self.of:
            text = f"training all {self.epochs} epochs"
        if self.images_per_second:
            text = f"this machine: {self.images_per_second:.0f} images/s; {text}"
            text += f", about {counted(max(1, round(self.minutes)), 'minute')}"
        if expected is not None:
            text += f", PCKh@0.5 {expected} to be expected"
        return text + (f"; --epochs {self.of} for all" if self.epochs < self.of else "")


class _Stopwatch(Hook):
    """Times of the ends of the steps."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.ends.append(time.monotonic())


def measure(cfg: Config) -> float:
    """Images a second of a few steps of this training, loader included, with nothing left behind.

    Images of whole batches, as the log counts them, whatever share of them is trained.
    """
    cfg = copy.deepcopy(cfg)
    dataset, size = cfg.train_dataloader.dataset, cfg.train_dataloader.batch_size
    dataset.indices = min(dataset.get("indices") or STEPS * size, STEPS * size)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.param_scheduler, cfg.log_level = [], "ERROR"
    # MMEngine shares loggers and visualizers by name; the run that follows must not get these.
    cfg.visualizer, cfg.experiment_name = None, f"measure_{time.time_ns()}"
    for split in ("val", "test"):
        cfg[f"{split}_dataloader"] = cfg[f"{split}_cfg"] = cfg[f"{split}_evaluator"] = None
    cfg.default_hooks.checkpoint = None
    if _selection(cfg):  # as many as in later epochs: in the first, AUSAM trains every image
        alpha = _selection(cfg).get("alpha", 1)
        cfg.train_dataloader.batch_sampler.selection = dict(type="UniformSelection", alpha=alpha)
    for hook in cfg.get("custom_hooks", []):
        if hook["type"] == "AUSAMHook":
            hook.pop("start", None)  # within one epoch a method would begin on whole batches
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir = folder
        runner = Runner.from_cfg(cfg)
        runner.register_hook(watch)
        runner.train()
    first = min(WARM_UP, len(watch.ends) // 2)
    if len(watch.ends) - first < 2:
        raise AusamError(
            f"{len(watch.ends)} steps are too few to measure a speed; name --epochs instead"
        )
    return (len(watch.ends) - 1 - first) * size / (watch.ends[-1] - watch.ends[first])


def choose(cfg: Config, speed: float, minutes: float, images: int, val_images: int) -> Plan:
    """As many epochs as fit, at least one and at most all.

    Args:
        cfg: the configuration; ``train_cfg.max_epochs`` is all.
        speed: images/s, see :func:`measure`.
        minutes: the budget.
        images, val_images: how many are trained in an epoch and evaluated at a time.
    """
    epoch = images / speed
    evaluations = EVALUATIONS * COST_OF_EVALUATION * val_images / speed
    # In the first epoch nothing is known of any image, and all of them are trained.
    once = evaluations + epoch * (1 / (_selection(cfg) or {}).get("alpha", 1) - 1)
    full = cfg.train_cfg.max_epochs
    epochs = max(1, min(full, math.floor((60 * minutes - once) / epoch)))
    return Plan(epochs, full, round(speed, 1), round((epochs * epoch + once) / 60, 2))


def fit(cfg: Config, epochs: int, steps: int) -> None:
    """Shorten a configuration to so many epochs: learning rate, evaluations and checkpoints.

    Each schedule keeps its share of the run, to the iteration. AUSAM's own ramp is a share anyway.

    Args:
        cfg: changed in place.
        epochs: how many it trains.
        steps: iterations of an epoch.

    Raises:
        AusamError: a schedule is counted in whole epochs, so that a few epochs are no share of it.
    """
    share = epochs / cfg.train_cfg.max_epochs
    for scheduler in cfg.param_scheduler if share != 1 else []:
        if not scheduler.get("convert_to_iter_based"):
            raise AusamError(
                f"{scheduler['type']} cannot be shortened: give it by_epoch=True and "
                "convert_to_iter_based=True, or train all epochs with --epochs "
                f"{cfg.train_cfg.max_epochs}"
            )
        for name in ("begin", "end"):
            if scheduler.get(name):
                iterations = max(1, round(scheduler[name] * share * steps))
                scheduler[name] = (iterations + 0.5) / steps  # MMEngine rounds down
    interval = math.ceil(epochs / EVALUATIONS)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=interval)
    cfg.default_hooks.checkpoint.interval = interval


def _selection(cfg: Config) -> dict[str, Any] | None:
    return (cfg.train_dataloader.get("batch_sampler") or {}).get("selection")


def expected_score(epochs: int, measured: Mapping[int, float]) -> str | None:
    """What a run of this length is likely to reach, in words, from runs of other lengths.

    Between two of them on a line over the logarithm of epochs, beyond them only a bound.
    """
    lengths = sorted(measured)
    if not lengths:
        return None
    if epochs < lengths[0]:
        return f"below {measured[lengths[0]]:.0f}"
    if epochs > lengths[-1]:
        return f"{measured[lengths[-1]]:.0f} or more"
    score = measured[lengths[0]]
    for low, high in pairwise(lengths):
        if low <= epochs <= high:
            part = math.log(epochs / low) / math.log(high / low)
            score = measured[low] + part * (measured[high] - measured[low])
    return f"about {score:.0f}"


def write_plan(plan: Plan, folder: Path) -> None:
    """Keep the plan beside the run, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "plan.json.partial"
    partial.write_text(json.dumps(asdict(plan), indent=2) + "\n")
    partial.replace(folder / "plan.json")


def read_plan(folder: Path) -> Plan | None:
    """The plan that a run began with, or None."""
    try:
        return Plan(**json.loads((folder / "plan.json").read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise AusamError(f"{folder / 'plan.json'} is damaged ({error}); remove {folder}") from error
