"""The parts of an integer network.

Between two roundings stand only sums of products of integers, and elementary operations on real
numbers: an affine map per channel, sums, products, clipping, pooling. The sums of products are
exact in any order as long as they stay below 2²⁴, the last whole number up to which fp32 has all:
then a convolution of codes in fp32 gives what integer arithmetic gives. The operations on real
numbers are computed in fp64, one after the other in a fixed order, as ONNX Runtime does. So two
programs that follow this recipe agree to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def scaled(self, values: Tensor) -> Tensor:
        """What is rounded, fp64."""
        return values.double() / self.step

    def forward(self, values: Tensor) -> Tensor:
        return self.scaled(values).round().clamp(self.grid.low, self.grid.high).float()


class FromCodes(nn.Module):
    """Codes to the real values that they stand for: ``codes · s``, where no layer reads them.

    Args:
        step: s, a 0-dim tensor.
    """

    def __init__(self, step: Tensor) -> None:
        super().__init__()
        self.register_buffer("step", step.detach().double().clone())

    def forward(self, codes: Tensor) -> Tensor:
        return codes.double() * self.step


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
        behind_sums: whether it is given whole numbers, or reals.
        axis: the dimension of the channels: 1, or -1 behind a linear layer.
    """

    def __init__(
        self, multiplier: Tensor, offset: Tensor, behind_sums: bool = False, axis: int = 1
    ) -> None:
        super().__init__()
        self.behind_sums, self.axis = behind_sums, axis
        self.register_buffer("multiplier", multiplier.detach().double())
        self.register_buffer("offset", offset.detach().double())

    def shape(self, dims: int) -> tuple[int, ...]:
        """In which the constants broadcast over a tensor of so many dimensions."""
        return (-1,) if self.axis == -1 else (-1, *[1] * (dims - 2))

    def forward(self, values: Tensor) -> Tensor:
        shape = self.shape(values.dim())
        return values.double() * self.multiplier.view(shape) + self.offset.view(shape)


class Table(nn.Module):
    """A function of one variable, by its value at each code.

    Args:
        values: fp64, ``[codes]``, for the codes from ``low`` upwards.
        low: the lowest code.
    """

    def __init__(self, values: Tensor, low: int) -> None:
        super().__init__()
        self.low = low
        self.register_buffer("values", values.detach().double())

    def forward(self, codes: Tensor) -> Tensor:
        return self.values[(codes - self.low).long()]


class Arithmetic(nn.Module):
    """A sum, difference, product or quotient with a number.

    Args:
        operation: ``"Add"``, ``"Sub"``, ``"Mul"`` or ``"Div"``, as ONNX calls them.
        number: the other operand.
        number_first: whether the number stands on the left.
    """

    FUNCTIONS = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}

    def __init__(self, operation: str, number: float, number_first: bool = False) -> None:
        super().__init__()
        self.operation, self.number_first = operation, number_first
        self.register_buffer("number", torch.tensor(number, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        pair = (self.number, values) if self.number_first else (values, self.number)
        return self.FUNCTIONS[self.operation](*pair)


class Clip(nn.Module):
    """``min(max(x, low), high)``; an end may be infinite."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = float(low), float(high)

    def forward(self, values: Tensor) -> Tensor:
        return values.clamp(self.low, self.high)


class OrderedPool(nn.Module):
    """Averages over windows of height and width, added up in a fixed order.

    A sum of real numbers depends on the order; so column after column, then row after row. Every
    average is such a sum: of the whole map, of windows of any stride and padding, of the uneven
    windows of adaptive pooling; nearest upsampling is one of windows of a single pixel.

    Args:
        rows, columns: int64, ``[longest window, outputs]``: what each output adds up, in this
            order. An index as large as the map means nothing, 0.
        counts: fp64, ``[]`` or ``[rows, columns]`` of outputs: what sums are divided by.
        size: height and width of the map.

    Attributes:
        beyond: whether some index of rows, and of columns, lies beyond the edge.
    """

    def __init__(
        self, rows: Tensor, columns: Tensor, counts: Tensor, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.beyond = int(rows.max()) >= size[0], int(columns.max()) >= size[1]
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.register_buffer("counts", counts.double())

    def forward(self, values: Tensor) -> Tensor:
        for dim, windows in ((3, self.columns), (2, self.rows)):
            if self.beyond[dim - 2]:
                values = F.pad(values, (0, 1) if dim == 3 else (0, 0, 0, 1))
            total = values.index_select(dim, windows[0])
            for window in windows[1:]:
                total = total + values.index_select(dim, window)
            values = total
        return values / self.counts


class MaxPool(nn.Module):
    """Maxima over windows, with what they look at beyond each edge spelled out.

    Args:
        kernel, stride, dilation: ``(height, width)``.
        pads: top, left, bottom, right.
    """

    def __init__(
        self,
        kernel: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        pads: Sequence[int],
    ) -> None:
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)
        self.dilation, self.pads = tuple(dilation), tuple(pads)

    def forward(self, values: Tensor) -> Tensor:
        top, left, bottom, right = self.pads
        if any(self.pads):
            values = F.pad(values, (left, right, top, bottom), value=-torch.inf)
        return F.max_pool2d(values, self.kernel, self.stride, 0, self.dilation)


class Reshape(nn.Module):
    """``[N, …] → [N, *shape]``, in the order of memory."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *self.shape)


class Transpose(nn.Module):
    """Another order of dimensions; the first stays."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, values: Tensor) -> Tensor:
        return values.permute(self.order)


class Slice(nn.Module):
    """A part along one dimension: from start to end, exclusive, each step-th."""

    def __init__(self, axis: int, start: int, end: int, step: int = 1) -> None:
        super().__init__()
        self.axis, self.start, self.end, self.step = axis, start, end, step

    def forward(self, values: Tensor) -> Tensor:
        part = slice(self.start, self.end, self.step)
        return values[(slice(None),) * self.axis + (part,)]


class Pad(nn.Module):
    """A constant beyond the edges.

    Args:
        before, after: how much in each dimension.
        value: the constant.
    """

    def __init__(self, before: Sequence[int], after: Sequence[int], value: float) -> None:
        super().__init__()
        self.before, self.after, self.value = tuple(before), tuple(after), float(value)

    def forward(self, values: Tensor) -> Tensor:
        pairs = zip(reversed(self.before), reversed(self.after), strict=True)
        return F.pad(values, [edge for pair in pairs for edge in pair], value=self.value)


class Concat(nn.Module):
    """Tensors one behind the other along a dimension."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *values: Tensor) -> Tensor:
        return torch.cat(values, self.axis)
