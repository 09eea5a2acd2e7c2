"""Top-1 and top-5 accuracy, of whole batches at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of images, in percent, whose class is among the highest scores.

    Args:
        topk: how many of the highest scores count.
        **kwargs: see :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = "accuracy"

    def __init__(self, topk: Sequence[int] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        """Count within a batch; the counts stay on the device."""
        for batch in data_samples:
            scores, labels = batch["scores"], batch["labels"]
            best = scores.topk(min(max(self.topk), scores.shape[1]), dim=1).indices
            hit = best == labels[:, None]
            counts = [hit[:, :k].sum() for k in self.topk]
            self.results.append((torch.stack(counts), len(labels)))

    def compute_metrics(self, results: list[tuple[Tensor, int]]) -> dict[str, float]:
        total = sum(size for _, size in results)
        hits = torch.stack([counts.cpu() for counts, _ in results]).sum(0)
        values = zip(self.topk, hits, strict=True)
        return {f"top{k}": 100.0 * float(count) / total for k, count in values}
