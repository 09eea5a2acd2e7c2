"""The first steps of activations: the best ones for what a few batches of data make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ausam_core.errors import AusamError
from tasks.qat.deploy.lower import check_deployable
from tasks.qat.deploy.shapes import does_not_run
from tasks.qat.graph import in_mode
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import best_step


@torch.no_grad()
def calibrate(network: QuantizedNetwork, loader: Iterable[Any] | Tensor, batches: int = 8) -> None:
    """Choose every step again: of weights as they are, of activations for the given batches.

    The network runs in floating point and in evaluation mode meanwhile; neither its mode nor its
    running statistics change.

    Args:
        network: a converted network with trained float weights.
        loader: gives batches of normalised images ``[N, C, H, W]``, not augmented: tensors, or
            tuples, lists or dicts that begin with them, as (images, labels); or is one batch, a
            tensor.
        batches: how many are taken.

    Raises:
        AusamError: without a batch, for batches that hold no images or some that the network does
            not take, for activations that are not finite, and for a network that has no integer
            form at the size of these images.
    """
    quantizers = network.activations()
    batches_of = [loader] if isinstance(loader, Tensor) else loader
    like, shape = network.layers()[0][1].weight, None
    for quantizer in quantizers.values():
        quantizer.seen = []
    network.behaviour.floats = True
    try:
        with in_mode(network, False):
            for batch in islice(batches_of, batches):
                images = real_images_of(batch).to(like)
                shape = tuple(images.shape[1:])
                try:
                    network(images)
                except Exception as error:  # torch raises many kinds
                    raise does_not_run(shape, error) from error
        seen = {name: quantizer.seen for name, quantizer in quantizers.items()}
    finally:
        network.behaviour.floats = False
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
    if not network.float_layers():
        check_deployable(network, shape)
    network.input_shape = shape


def real_images_of(batch: Any) -> Tensor:
    """As :func:`images_of`, where the values matter.

    Raises:
        AusamError: says what was found.
    """
    images = images_of(batch)
    if not len(images):
        raise AusamError("a batch of images is empty; give one image or more")
    if not images.isfinite().all():
        raise AusamError("a batch of images is not finite; look at how they are normalised")
    return images


def images_of(batch: Any) -> Tensor:
    """The images of a batch that may hold labels too.

    Raises:
        AusamError: says what was found.
    """
    first = batch
    if isinstance(batch, (tuple, list)) and batch:
        first = batch[0]
    elif isinstance(batch, Mapping) and batch:
        first = next(iter(batch.values()))
    if not isinstance(first, Tensor) or not first.is_floating_point() or first.dim() < 2:
        what = type(batch).__name__
        kind = f" of {first.dtype}" if isinstance(first, Tensor) else ""
        raise AusamError(
            f"a batch must be normalised images [N, C, H, W], or begin with them, found {what}"
            f"{kind}"
        )
    return first
