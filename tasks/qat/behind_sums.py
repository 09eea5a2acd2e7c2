"""What is behind the sums of a layer: an affine map a channel, whose offset is a whole one.

A layer adds up products of codes; steps, bias and BatchNorm in evaluation make of each such sum
``sum · multiplier + offset``. An integer engine holds the offset too as an integer, of the unit
that its 8-bit weights have, so a real one has to be rounded for it. Rounded for the file alone it
lets codes flip, more from layer to layer. So the network that is evaluated has it rounded already,
by less than half a unit: then its file has nothing left to round.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from tasks.qat.grid import Grid
from tasks.qat.holds_bias import HoldsBias
from tasks.qat.layers import ActivationQuantizer, QuantizedLayer
from tasks.qat.steps import FLOOR

_ROOM = 2**30
"""Sums, and offsets, stay below it: the two together fit int32."""
_PAIR = 2**15 - 1
"""x86 without VNNI adds two products of uint8 and int8 in 16 bits, and saturates."""


def affine_map(
    layer: QuantizedLayer, quantizer: ActivationQuantizer, norm: _BatchNorm | None
) -> tuple[Tensor, Tensor]:
    """Multiplier and offset behind the sums of a layer, with the bias of the pass that runs.

    Args:
        layer: the quantized layer.
        quantizer: of its input.
        norm: the BatchNorm behind it, as it is in evaluation.

    Returns:
        ``[C]`` each, fp64.
    """
    step = quantizer.step.float().clamp(min=FLOOR).double()
    multiplier = (step * layer.step.float().clamp(min=FLOOR).double()).expand(len(layer.weight))
    bias = layer.used_bias
    offset = torch.zeros_like(multiplier) if bias is None else bias.double()
    if norm is None:
        return multiplier, offset
    scale, shift = affine_of(norm, norm.used_bias if isinstance(norm, HoldsBias) else norm.bias)
    return multiplier * scale, offset * scale + shift


def whole_bias(layer: QuantizedLayer, quantizer: ActivationQuantizer, holder: HoldsBias) -> Tensor:
    """The bias, in the type of that of ``holder``, with which the offset is a whole one.

    Its gradient goes to the trained bias, as through any rounding here.
    """
    norm = holder if isinstance(holder, _BatchNorm) else None
    with torch.no_grad():
        multiplier, offset = affine_map(layer, quantizer, norm)
        unit = unit_of(multiplier, offset, stretch(layer.weight, layer.grid, quantizer.grid))
        moved = ((offset / unit).round() * unit - offset).to(holder.bias.dtype)
    return holder.bias + moved


def affine_of(norm: _BatchNorm, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """BatchNorm in evaluation, with this bias, as ``x · scale + shift``; ``[C]`` each, fp64."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if bias is None else shift + bias.double()


def stretch(weight: Tensor, grid: Grid, inputs: Grid) -> int:
    """By how much codes of a weight are multiplied, to use the 8 bits in which they lie.

    Args:
        weight: ``[out, …]``; its shape says how many products a sum has.
        grid, inputs: the integers of weight and input.
    """
    largest_sum = math.prod(weight.shape[1:]) * grid.largest * inputs.largest
    return max(1, min(most_in_int8(inputs) // grid.largest, _ROOM // largest_sum))


def most_in_int8(inputs: Grid) -> int:
    """The largest code of a weight in int8 that cannot saturate beside such inputs, in uint8."""
    return min(127, _PAIR // (2 * (inputs.high + zero_in_uint8(inputs))))


def zero_in_uint8(grid: Grid) -> int:
    """What the code 0 is in uint8."""
    return 128 if grid.signed else 0


def unit_of(multiplier: Tensor, offset: Tensor, stretched: int) -> Tensor:
    """What an offset is a whole number of: the multiplier by :func:`stretch`; fp64, positive.

    A channel that BatchNorm has all but switched off gets a longer one, with fewer digits of its
    weight.
    """
    size = multiplier.abs().clamp(min=torch.finfo(torch.float32).tiny)
    return torch.maximum(size / stretched, offset.abs() / _ROOM)
