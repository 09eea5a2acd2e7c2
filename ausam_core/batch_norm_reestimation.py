"""Recompute the running statistics of BatchNorm from data.

In training they lag behind the weights, under AUSAM they come from selected samples, which are
harder than the others, and in quantized training a code that flips moves a whole channel. So they
are estimated afresh on some batches before an evaluation (Nagel et al., "Overcoming Oscillations in
Quantization-Aware Training", 2022, section 4.1; Izmailov et al., "Averaging Weights Leads to Wider
Optima", 2018, after averaging)::

    reestimate(model, (images for images, _ in islice(loader, 50)))
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

    Each batch is normalised by its own statistics, as in training; all else, dropout above all,
    runs as in evaluation. Mean and variance over all batches are exact (Chan's formula in fp64),
    not an average of averages. Frozen layers, see :func:`is_frozen`, keep their statistics and
    normalise by them, as they do in evaluation.

    Args:
        model: any model; the mode of each of its modules is kept.
        batches: what is run, 50 random training batches or so.
        forward: runs one batch; by default ``model(batch)``.

    Raises:
        AusamError: without a batch.
    """
    forward = forward or model
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and not is_frozen(m, model)]
    totals = [_Moments() for _ in layers]
    hooks = [
        layer.register_forward_hook(lambda _, args, __, t=total: t.add(args[0]))
        for layer, total in zip(layers, totals, strict=True)
    ]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for layer in layers:
        # normalise by the batch, leave the buffers
        layer.training, layer.track_running_stats = True, False
    count = 0
    try:
        for batch in batches:
            forward(batch)
            count += 1
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            layer.track_running_stats = True
        for module, mode in modes.items():
            module.training = mode
    if layers and not count:
        raise AusamError("BatchNorm cannot be re-estimated without a batch; give at least one")
    for layer, total in zip(layers, totals, strict=True):
        if total.count:  # a layer that no batch passed keeps what it has
            _copy(layer.running_mean, total.mean)
            _copy(layer.running_var, total.squares / max(total.count - 1, 1))


def _copy(statistic: Tensor | None, value: Tensor | float) -> None:
    assert statistic is not None
    statistic.copy_(torch.as_tensor(value))


def is_frozen(layer: _BatchNorm, model: nn.Module) -> bool:
    """Whether the running statistics of a layer are meant to stay.

    So they are where the layer keeps none, where its momentum is 0, and where it was put into
    evaluation mode within a model that trains (MMPose's ``norm_eval``, a frozen stage).
    """
    kept = layer.track_running_stats and layer.running_mean is not None
    return not kept or layer.momentum == 0 or (model.training and not layer.training)


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
