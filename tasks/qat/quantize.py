"""From a float network to a quantized one and to its file, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from tasks.qat.calibration import images_of, real_images_of
from tasks.qat.convert import convert
from tasks.qat.deploy.agreement import hold_to_training
from tasks.qat.deploy.engines import form_of
from tasks.qat.deploy.export import Storage, Style, to_onnx
from tasks.qat.deploy.lower import check_deployable, lower
from tasks.qat.network import QuantizedNetwork
from tasks.qat.policy import Policy


def quantize(
    model: nn.Module, example: Any, policy: Policy | Mapping[str, Any] | None = None
) -> QuantizedNetwork:
    """A quantized copy of a float network, known to have an integer form before it is trained.

    ::

        network = quantize(model, images, Policy(weight_bits=2, activation_bits=4))
        calibrate(network, loader)
        ...  # train it as any other module
        export(network, images, "model.onnx")

    Args:
        model: any network of convolutions, linear layers, BatchNorm and what stands between them;
            it is not changed, now or later.
        example: what it takes, ``[N, C, H, W]``, or a batch that begins with it; its values do not
            matter here.
        policy: how many bits where, or its settings by name; W2A4 with 8-bit ends by default.

    Raises:
        AusamError: for a layer that cannot be quantized and for an operation that has no integer
            form: names it and says what to take instead.
    """
    network = convert(model, policy)
    network.input_shape = tuple(images_of(example).shape[1:])
    if not network.float_layers():
        check_deployable(network)
    return network


@torch.no_grad()
def export(
    network: QuantizedNetwork,
    example: Any,
    path: str | Path,
    target: str = "onnxruntime",
    style: Style | None = None,
    weights: Storage | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a trained network as an integer ONNX file.

    The integer network is held against the training graph on the example first, so that the file
    computes what was trained.

    Args:
        network: calibrated and trained.
        example: some real images ``[N, C, H, W]``, or a batch that begins with them.
        path: of the file; one that is there is replaced.
        target: what will read the file: ``"onnxruntime"`` (equal to the integer network to the
            bit), ``"openvino"``, or ``"portable"`` (no type and no operator that is not common; a
            code may differ by one at a tie).
        style, weights: take the place of the target's, see :mod:`tasks.qat.deploy.export`.
        metadata: goes into the file.

    Returns:
        The path.

    Raises:
        AusamError: for a network that was never calibrated, for a path that cannot be written, and
            as :func:`quantize`.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise AusamError(f"the folder {path.parent} is not there; make it first")
    if path.is_dir():
        raise AusamError(f"{path} is a folder; name a file")
    images: Tensor = real_images_of(example).float().to(network.grids.device)
    shape = tuple(images.shape[1:])
    deployed = lower(network, shape)
    hold_to_training(network, deployed, images)
    form = form_of(target, style, weights)
    model = to_onnx(deployed.cpu(), shape, form.style, form.weights, metadata)
    path.write_bytes(model.SerializeToString())
    return path
