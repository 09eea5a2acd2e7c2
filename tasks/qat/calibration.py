"""The first steps of activations: the best ones for what a few batches of data make of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ausam_core.errors import AusamError
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import best_step


@torch.no_grad()
def calibrate(network: QuantizedNetwork, batches: Iterable[Tensor]) -> None:
    """Choose every step anew: of weights as they are, of activations for the given batches.

    The network runs in floating point and in evaluation mode meanwhile; neither its mode nor its
    running statistics change.

    Args:
        network: a converted network with trained float weights.
        batches: normalised images ``[N, C, H, W]``, not augmented, 8 batches or so.

    Raises:
        AusamError: without a batch, and for activations that are not finite.
    """
    quantizers, was_training = network.activations(), network.training
    for quantizer in quantizers.values():
        quantizer.seen = []
    network.eval()
    network.behaviour.floats = True
    try:
        for images in batches:
            network(images)
        seen = {name: quantizer.seen for name, quantizer in quantizers.items()}
    finally:
        network.behaviour.floats = False
        network.train(was_training)
        for quantizer in quantizers.values():
            quantizer.seen = None
    for name, quantizer in quantizers.items():
        if not seen[name]:
            raise AusamError("calibration got no batch; give it at least one")
        values = torch.cat(seen[name])
        if not values.isfinite().all():
            raise AusamError(
                f"the activation {name} is not finite on the calibration batches; the float "
                "weights are broken"
            )
        quantizer.step.copy_(best_step(values, quantizer.grid, channels=False))
    for _, layer in network.layers():
        layer.restart_step()
