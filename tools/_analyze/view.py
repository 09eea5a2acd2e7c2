"""The training samples of a run as evaluation sees samples: in order, without augmentation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor

Batch = dict[str, Any]
"""Arguments of a model's forward: what its data preprocessor gives."""


class TrainingView:
    """Batches, losses and metric over the training samples; the model is not changed.

    A config says how with ``trained_dataloader``; where it does not, it is the loader of evaluation
    over the training data.

    Args:
        cfg: configuration of the run.
        model: its model.
        batch_size: another one than the loader's.
    """

    def __init__(self, cfg: Config, model: BaseModel, batch_size: int | None = None) -> None:
        loader = cfg.get("trained_dataloader") or dict(
            cfg.val_dataloader, dataset=cfg.train_dataloader.dataset
        )
        loader = copy.deepcopy(dict(loader))
        loader["batch_size"] = batch_size or loader["batch_size"]
        self.loader = Runner.build_dataloader(loader)
        self.model, self._evaluator = model, cfg.val_evaluator
        preprocessor = model.data_preprocessor
        if hasattr(preprocessor, "of_training_images"):
            preprocessor = preprocessor.of_training_images()
        self._preprocessor = preprocessor

    def batches(self, count: int | None = None) -> Iterator[Batch]:
        """The first batches, or all of them."""
        for data in islice(self.loader, count):
            yield self._preprocessor(data, False)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch, 0-dim, with a graph."""
        return self.model.parse_losses(self.model(**batch, mode="loss"))[0]

    @torch.no_grad()
    def score(self, metric: str) -> float:
        """A metric of the config's evaluator over all training samples."""
        evaluator = Evaluator(copy.deepcopy(self._evaluator))
        evaluator.dataset_meta = getattr(self.loader.dataset, "metainfo", None)
        for data in self.loader:
            batch = self._preprocessor(copy.copy(data), False)
            evaluator.process(self.model(**batch, mode="predict"), data)
        return float(evaluator.evaluate(len(self.loader.dataset))[metric])
