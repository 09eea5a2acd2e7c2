"""A task that trains in a second: 64 points in two classes, told apart by a linear model."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmengine.structures import BaseDataElement
from torch import nn


@TRANSFORMS.register_module()
class PackPoint:
    """Point and label as MMEngine's models want them."""

    def __call__(self, info: dict) -> dict:
        sample = BaseDataElement(metainfo={"label": info["label"]})
        return {"inputs": torch.from_numpy(info["point"]), "data_samples": sample}


@DATASETS.register_module()
class ToyPoints(BaseDataset):
    """Random points, the label is the sign of the first coordinate."""

    def load_data_list(self) -> list[dict]:
        points = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
        return [{"point": point, "label": int(point[0] > 0)} for point in points]


@MODELS.register_module()
class ToyClassifier(BaseModel):
    """One linear layer and a loss module whose samples can be told apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 2)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, inputs, data_samples=None, mode: str = "tensor"):
        logits = self.layer(torch.stack(list(inputs)))
        if mode == "tensor":
            return logits
        if mode == "loss":
            return {"loss": self.loss(logits, torch.tensor([s.label for s in data_samples]))}
        for sample, answer in zip(data_samples, logits.argmax(1).tolist(), strict=True):
            sample.set_field(answer, "answer")
        return data_samples


@METRICS.register_module()
class ToyAccuracy(BaseMetric):
    """Share of right answers."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [s["answer"] == s["label"] for s in data_samples]

    def compute_metrics(self, results: list) -> dict:
        return {"accuracy": float(np.mean(results))}
