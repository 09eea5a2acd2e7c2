"""Recompute the running statistics of BatchNorm from data.

In training they lag: each step flips codes, and with 4 levels a flip moves a whole channel. Under
AUSAM they come from selected samples, which are harder than the others. Nagel et al. ("Overcoming
Oscillations in Quantization-Aware Training", 2022, section 4.1) re-estimate them on some batches
before each evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ausam_core.errors import AusamError


@torch.no_grad()
def reestimate(
    model: nn.Module, batches: Iterable[Any], forward: Callable[[Any], object] | None = None
) -> None:
    """Replace running mean and variance by those of everything that passes each layer.

    Each batch is normalised by its own statistics, as in training. Mean and variance over all
    batches are exact (Chan's formula in fp64), not an average of averages.

    Args:
        model: any model; its mode is kept.
        batches: what is run, 50 random training batches or so.
        forward: runs one batch; by default ``model(batch)``.

    Raises:
        AusamError: without a batch.
    """
    forward, was_training = forward or model, model.training
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    totals = [_Moments() for _ in layers]
    hooks = [
        layer.register_forward_hook(lambda _, args, __, t=total: t.add(args[0]))
        for layer, total in zip(layers, totals, strict=True)
    ]
    model.train()
    for layer in layers:
        layer.track_running_stats = False  # as frozen: normalise by the batch, leave the buffers
    try:
        for batch in batches:
            forward(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            layer.track_running_stats = True
        model.train(was_training)
    for layer, total in zip(layers, totals, strict=True):
        if total.count == 0:
            raise AusamError("BatchNorm cannot be re-estimated without a batch; give at least one")
        layer.running_mean.copy_(total.mean)
        layer.running_var.copy_(total.squares / max(total.count - 1, 1))


class _Moments:
    """Count, mean and sum of squared differences of each channel, batch by batch, in fp64."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, inputs: Tensor) -> None:
        dims = [0, *range(2, inputs.dim())]
        variance, mean = torch.var_mean(inputs.double(), dims, correction=0)
        count = inputs.numel() // inputs.shape[1]
        total = self.count + count
        shift = mean - self.mean
        self.squares = self.squares + variance * count + shift**2 * self.count * count / total
        self.mean = self.mean + shift * count / total
        self.count = total
