"""What is measured in a run and at its end."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Mapping
from typing import Any

import mmengine
import torch
from _analyze.sharpness import sharpness
from _analyze.view import TrainingView
from _analyze.weights import perturbed_parameters
from _rehearsal import RehearsalHook
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import ausam_core
from _study.study import Study, WrongStudyError
from ausam_core.mmengine import AUSAMHook

_BATCH, _BATCHES = 128, 8  # sharpness is of the first 1,024 training samples


class ResultHook(Hook):
    """Keeps the metrics of the last evaluation, and counts wrong labels among the samples that were
    chosen.

    Args:
        study: what it says of samples and metric is held against the run before the first step.

    Raises:
        WrongStudyError: where the two differ.
    """

    priority = "LOWEST"

    def __init__(self, study: Study) -> None:
        self.metrics: dict[str, float] = {}
        self._study = study
        self._chosen = self._wrong = 0

    def before_run(self, runner: Runner) -> None:
        dataset = runner.train_loop.dataloader.dataset
        if len(dataset) != self._study.samples:
            raise WrongStudyError(
                f"{self._study.path} says samples = {self._study.samples}, but "
                f"{self._study.config} trains {len(dataset)}; budgets would not be equal"
            )
        self._labels_wrong = getattr(dataset, "wrong", None)
        self._ausam = next(hook for hook in runner.hooks if isinstance(hook, AUSAMHook))

    def before_train(self, runner: Runner) -> None:
        """Called after the rehearsal, which was registered first."""
        rehearsal = next((h for h in runner.hooks if isinstance(h, RehearsalHook)), None)
        if rehearsal is not None and rehearsal.metrics is not None:
            self.check_metric(rehearsal.metrics)

    def check_metric(self, metrics: Mapping[str, Any]) -> None:
        """Refuse an evaluation without the study's metric."""
        if self._study.metric not in metrics:
            raise WrongStudyError(
                f"{self._study.path} asks for the metric {self._study.metric}, but "
                f"{self._study.config} gives {', '.join(metrics) or 'none'}"
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        batch = self._ausam.batch
        if self._labels_wrong is not None and batch is not None and len(batch) < batch.size:
            self._chosen += len(batch)
            self._wrong += int(self._labels_wrong[batch.indices].sum())

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.metrics = dict(metrics or {})

    @property
    def more(self) -> dict[str, float]:
        """Percent of wrong labels among the chosen samples, where there were both."""
        return {"wrong_labels_chosen": 100 * self._wrong / self._chosen} if self._chosen else {}


def passes_spent(runner: Runner) -> float:
    """Sample passes of training, as the run's method counted them."""
    return runner.optim_wrapper.method.cost.passes


def at_the_end(cfg: Config, runner: Runner, metric: str, rho: float) -> dict[str, float]:
    """Score, loss and sharpness on the training samples, as a record names them."""
    model = runner.model.eval()
    view = TrainingView(cfg, model)
    with torch.no_grad():
        losses = [loss for batch in view.batches() for loss in view.losses(batch)[1].tolist()]
    small, parameters = TrainingView(cfg, model, batch_size=_BATCH), perturbed_parameters(model)
    rises = [
        sharpness(lambda batch=batch: small.losses(batch)[0], parameters, [rho])[0]
        for batch in small.batches(_BATCHES)
    ]
    return dict(
        training_score=view.score(metric),
        training_loss=statistics.mean(losses),
        sharpness=statistics.mean(rises),
        rho=rho,
    )


def versions() -> dict[str, str]:
    """What a run ran on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "ausam": ausam_core.__version__,
        "torch": torch.__version__,
        "mmengine": mmengine.__version__,
        "python": sys.version.split()[0],
        "device": device,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
