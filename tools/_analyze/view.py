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

from ausam_core.batch_parts import batch_length, part_of_batch
from ausam_core.errors import AusamError
from ausam_core.per_sample_loss import PerSampleLossRecorder

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
        self._recorder: PerSampleLossRecorder | None = None

    def batches(self, count: int | None = None) -> Iterator[Batch]:
        """The first batches, or all of them."""
        for data in islice(self.loader, count):
            yield self._preprocessor(data, False)

    def losses(self, batch: Batch, subset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loss of a batch, or of some of its samples.

        Args:
            batch: from :meth:`batches`.
            subset: positions in it, ``[N]``, int64.

        Returns:
            The mean over the samples, 0-dim, with a graph; the loss of each, ``[N]``, detached.

        Raises:
            AusamError: where the model's loss cannot be split into samples.
        """
        if subset is not None:
            batch = part_of_batch(batch, subset, size_of(batch))
        if self._recorder is None:
            self._recorder = PerSampleLossRecorder(self.model)
        with self._recorder.recording():
            given = self.model(**batch, mode="loss")
        total, each = self.model.parse_losses(given)[0], self._recorder.losses()
        vectors = [v for k, v in given.items() if "loss" in k and isinstance(v, Tensor) and v.dim()]
        if vectors:
            each = torch.stack(vectors).sum(0).detach()
        if each is None:
            raise AusamError(
                f"{type(self.model).__name__} gives no loss of each sample; register a handler "
                "with ausam_core.register_per_sample_loss"
            )
        # Some losses are a sum over the batch: the mean is what can be compared.
        is_sum = (total - each.sum()).abs() < (total - each.mean()).abs()
        return (total / len(each) if is_sum else total), each

    @torch.no_grad()
    def score(self, metric: str) -> float:
        """A metric of the config's evaluator over all training samples."""
        evaluator = Evaluator(copy.deepcopy(self._evaluator))
        evaluator.dataset_meta = getattr(self.loader.dataset, "metainfo", None)
        for data in self.loader:
            batch = self._preprocessor(copy.copy(data), False)
            evaluator.process(self.model(**batch, mode="predict"), data)
        return float(evaluator.evaluate(len(self.loader.dataset))[metric])


def size_of(batch: Batch) -> int:
    """Number of samples in a batch."""
    size = batch_length(batch)
    assert size is not None, "a batch of a model holds tensors or lists"
    return size
