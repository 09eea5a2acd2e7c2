"""The parts of an integer network.

Between two roundings stand only sums of products of integers and one affine map per channel. The
sums are exact in any order as long as they stay below 2²⁴, the last whole number up to which fp32
has all: then a convolution of codes in fp32 gives what integer arithmetic gives. The affine maps
are computed in fp64, one operation after the other, as ONNX Runtime does. So two programs that
follow this recipe agree to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.qat.grid import Grid

FP32_EXACT = 2**24
INT32_EXACT = 2**31 - 1


class ToCodes(nn.Module):
    """Real values to codes: ``clip(round(x / s), low, high)``, half to even.

    Args:
        step: s, a 0-dim tensor.
        grid: the integers.
    """

    def __init__(self, step: Tensor, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("step", step.detach().double().clone())

    def forward(self, values: Tensor) -> Tensor:
        codes = (values.double() / self.step).round()
        return codes.clamp(self.grid.low, self.grid.high).float()


class Accumulate(nn.Module):
    """Sums of products of codes: the heart of a layer; whole numbers held in fp32 or fp64.

    Args:
        codes: of the weight, ``[out, in / groups, kh, kw]`` or ``[out, in]``.
        weight_grid, input_grid: the integers of weight and input.
        conv: stride, padding, dilation and groups of a convolution; None for a linear layer.

    Attributes:
        bound: no partial sum is larger, whatever the input.
    """

    def __init__(
        self, codes: Tensor, weight_grid: Grid, input_grid: Grid, conv: dict[str, Any] | None
    ) -> None:
        super().__init__()
        self.weight_grid, self.input_grid, self.conv = weight_grid, input_grid, conv
        self.register_buffer("codes", codes.detach().float().contiguous())
        sums = codes.detach().double().abs().flatten(1).sum(1)
        self.bound = int(sums.max()) * input_grid.largest

    @property
    def wide(self) -> bool:
        """Whether fp32 could round a sum."""
        return self.bound > FP32_EXACT

    def forward(self, inputs: Tensor) -> Tensor:
        dtype = torch.float64 if self.wide else torch.float32
        inputs, codes = inputs.to(dtype), self.codes.to(dtype)
        if self.conv is None:
            return F.linear(inputs, codes)
        return F.conv2d(inputs, codes, **self.conv)


class Rescale(nn.Module):
    """``y = x · multiplier + offset`` a channel, in fp64: the steps, the bias and BatchNorm in one.

    Args:
        multiplier, offset: ``[C]``.
        unit: what a whole number of the accumulator stands for, ``[C]``; None after a value that is
            real already.
    """

    def __init__(self, multiplier: Tensor, offset: Tensor, unit: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("multiplier", multiplier.detach().double())
        self.register_buffer("offset", offset.detach().double())
        self.register_buffer("unit", None if unit is None else unit.detach().double())

    def forward(self, values: Tensor) -> Tensor:
        shape = (-1, *[1] * (values.dim() - 2))
        return values.double() * self.multiplier.view(shape) + self.offset.view(shape)


class OrderedMean(nn.Module):
    """Mean over height and width, ``[N, C, H, W] → [N, C, 1, 1]``, added up in a fixed order.

    A sum of real numbers depends on the order; so column after column, then row after row.
    """

    def forward(self, values: Tensor) -> Tensor:
        height, width = values.shape[2:]
        for dim in (3, 2):
            parts = values.split(1, dim)
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            values = total
        return values / (height * width)
