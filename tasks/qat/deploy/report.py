"""What a quantized network costs and loses, layer by layer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tasks.qat.deploy.emitter import storage_of
from tasks.qat.deploy.export import Storage
from tasks.qat.graph import in_mode
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import is_step, per_channel

_STORED_BITS = {"int2": 2, "int4": 4, "int8": 8}


@dataclass
class LayerReport:
    """One layer.

    Attributes:
        name, op, shape, groups, weight_bits, activation_bits: of the table of layers, first call.
        step_min, step_median, step_max: of the weight's steps.
        input_step: step of its input.
        histogram: the share of weights at each code, by code.
        clipped: share of weights outside the grid.
        sqnr: signal to quantization noise of the weights, dB.
        parameters: weights and biases.
        bytes: packed codes and two fp64 constants an output channel.
        macs: multiplications for one image, of all calls of the layer.
        bops: bit operations for one image, macs × weight bits × activation bits.
    """

    name: str
    op: str
    shape: list[int]
    groups: int
    weight_bits: int
    activation_bits: int
    step_min: float
    step_median: float
    step_max: float
    input_step: float
    histogram: dict[str, float]
    clipped: float
    sqnr: float
    parameters: int
    bytes: int
    macs: int
    bops: int


@torch.no_grad()
def layer_reports(
    network: QuantizedNetwork, image_shape: tuple[int, int, int], weights: Storage = "int2"
) -> list[LayerReport]:
    """A report for each layer of a trained network.

    Args:
        network: trained and calibrated.
        image_shape: ``(C, H, W)`` that operations are counted for.
        weights: how codes are stored.
    """
    macs = _macs(network, image_shape)
    rows = {row.name: row for row in reversed(network.table)}  # of a layer's first call
    found = []
    for name, layer in network.layers():
        row = rows[name]
        weight, codes = layer.weight, layer.codes()
        scaled = weight / per_channel(layer.step, weight)
        noise = float((codes * per_channel(layer.step, weight) - weight).square().sum())
        signal = float(weight.square().sum())
        values = range(layer.grid.low, layer.grid.high + 1)
        counts = {str(c): float((codes == c).float().mean()) for c in values}
        outside = (scaled < layer.grid.low - 0.5) | (scaled > layer.grid.high + 0.5)
        packed = math.ceil(weight.numel() * _STORED_BITS[storage_of(layer.grid, weights)] / 8)
        bias = 0 if layer.bias is None else layer.bias.numel()
        found.append(
            LayerReport(
                name=name,
                op=row.op,
                shape=row.shape,
                groups=row.groups,
                weight_bits=row.weight_bits,
                activation_bits=row.activation_bits,
                step_min=float(layer.step.min()),
                step_median=float(layer.step.median()),
                step_max=float(layer.step.max()),
                input_step=float(network.activations()[row.activation].step),
                histogram=counts,
                clipped=float(outside.float().mean()),
                sqnr=10 * math.log10(signal / noise) if noise > 0 else math.inf,
                parameters=weight.numel() + bias,
                bytes=packed + 16 * len(weight),
                macs=macs[name],
                bops=macs[name] * row.weight_bits * row.activation_bits,
            )
        )
    return found


def totals(network: QuantizedNetwork, layers: list[LayerReport]) -> dict[str, Any]:
    """Sizes and operations of the whole network."""
    floats = [
        value
        for name, value in network.state_dict().items()
        if value.is_floating_point() and not is_step(name)
    ]
    fp32 = 4 * sum(value.numel() for value in floats)
    packed = sum(layer.bytes for layer in layers) + 8 * len(network.activations())
    ends = layers[0].bytes + layers[-1].bytes
    macs = sum(layer.macs for layer in layers)
    bops = sum(layer.bops for layer in layers)
    return dict(
        parameters=sum(layer.parameters for layer in layers),
        fp32_bytes=fp32,
        packed_bytes=packed,
        compression=fp32 / packed,
        share_of_ends=ends / packed,
        macs=macs,
        bops=bops,
        bops_of_fp32=macs * 32 * 32,
    )


def to_dict(network: QuantizedNetwork, layers: list[LayerReport]) -> dict[str, Any]:
    """Everything, as plain values for JSON; what is infinite becomes None."""
    rows = [asdict(layer) for layer in layers]
    for row in rows:
        row["sqnr"] = row["sqnr"] if math.isfinite(row["sqnr"]) else None
    return dict(layers=rows, totals=totals(network, layers))


def to_text(network: QuantizedNetwork, layers: list[LayerReport]) -> str:
    """A table, and the totals below it."""
    head = (
        f"{'layer':<24}{'op':<10}{'bits':>6}{'step (min/median/max)':>26}{'clipped':>9}"
        f"{'SQNR':>8}{'params':>10}{'bytes':>9}{'Mbops':>9}  codes"
    )
    lines = [head]
    for row in layers:
        steps = f"{row.step_min:.4f}/{row.step_median:.4f}/{row.step_max:.4f}"
        shares = " ".join(f"{100 * v:.0f}" for v in row.histogram.values())
        codes = f"{shares} %" if len(row.histogram) <= 8 else f"{len(row.histogram)} codes"
        lines.append(
            f"{row.name:<24}{row.op:<10}{f'W{row.weight_bits}A{row.activation_bits}':>6}{steps:>26}"
            f"{100 * row.clipped:>8.2f}%{row.sqnr:>6.1f}dB{row.parameters:>10}{row.bytes:>9}"
            f"{row.bops / 1e6:>9.1f}  {codes}"
        )
    whole = totals(network, layers)
    lines.append(
        f"{whole['parameters']} parameters; {whole['fp32_bytes'] / 1e6:.2f} MB in fp32, "
        f"{whole['packed_bytes'] / 1e6:.2f} MB packed ({whole['compression']:.1f} times smaller, "
        f"{100 * whole['share_of_ends']:.0f} % of it the first and last layer)"
    )
    lines.append(
        f"{whole['macs'] / 1e6:.1f} million multiplications an image; {whole['bops'] / 1e9:.2f} "
        f"billion bit operations, {whole['bops_of_fp32'] / whole['bops']:.0f} times fewer than fp32"
    )
    return "\n".join(lines)


def _macs(network: QuantizedNetwork, image_shape: tuple[int, int, int]) -> dict[str, int]:
    counts: dict[str, int] = dict.fromkeys((name for name, _ in network.layers()), 0)

    def count(name: str, weight: Tensor) -> Any:
        def add(_: Any, __: Any, output: Tensor) -> None:
            counts[name] += output.numel() * weight[0].numel()

        return add

    hooks = [
        layer.register_forward_hook(count(name, layer.weight)) for name, layer in network.layers()
    ]
    with in_mode(network, False):
        network(torch.zeros(1, *image_shape, device=network.grids.device))
    for hook in hooks:
        hook.remove()
    return counts
