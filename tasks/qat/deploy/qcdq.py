"""The style ``qdq`` with 8-bit weights: laid out so that engines compute in integers.

An engine puts a convolution on integers where both its inputs come from a DequantizeLinear, its
bias is an int32 in units of the product of their steps, and a QuantizeLinear follows. So

- codes lie in uint8, and a grid that the type is too wide for is a Clip of the *codes*: rounding
  keeps the order of values, so ReLU, ReLU6 and the ends of the grid come out the same before and
  after it (QCDQ: Pappalardo et al. 2022, "QONNX");
- codes of weights below 8 bits are multiplied by some factor that 8 bits leave room for, and their
  step is divided by it: then whole units are fine enough for the bias, see :func:`integers`.

A layer whose result stays a real number, as the branches of a residual sum do unless the policy
rounds them, has no such form: rounding it to 8 bits is not what was trained. It is a convolution in
floating point, whose weight is a Cast and a Mul: these an engine folds into a constant, a
DequantizeLinear ONNX Runtime does not, and then cannot lay the weight out, nor put bias, sum and
ReLU into the convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from tasks.qat.deploy.emitter import conv_attributes, shape_of
from tasks.qat.deploy.integer import (
    Accumulate,
    Clip,
    FromCodes,
    MaxPool,
    Rescale,
    Reshape,
    Slice,
    ToCodes,
    Transpose,
)
from tasks.qat.deploy.qdq import VALUES, Qdq
from tasks.qat.grid import Grid

_MOVES = (MaxPool, Reshape, Slice, Transpose)
"""What engines carry a QuantizeLinear across, as it gives no other values than it takes."""
_ROOM = 2**30
"""Sums, and biases, stay below it: the two together fit int32."""
_PAIR = 2**15 - 1
"""x86 without VNNI adds two products of uint8 and int8 in 16 bits, and saturates."""


class Qcdq(Qdq):
    """See the module."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._absorbed: dict[fx.Node, list[fx.Node]] = {}
        # An engine rounds sums of codes its own way, so that codes drift whatever the factors are.
        self._drifts = any(isinstance(module, FromCodes) for module in self.deployed.modules())

    def codes(self, node: fx.Node, module: ToCodes, values: str) -> str:
        name, zero = node.target, _zero(module.grid)
        low, high = self._ends(node)
        step = self.graph.constant(f"{name}.step", module.step, "float32")
        shift = self.graph.constant(f"zero.{zero}", zero, "uint8")
        codes = self.graph.add("QuantizeLinear", [values, step, shift], f"{name}.rounded")
        if (low + zero, high + zero) != (0, 255):
            ends = [
                self.graph.constant(f"code.{end + zero}", end + zero, "uint8")
                for end in (low, high)
            ]
            codes = self.graph.add("Clip", [codes, *ends], f"{name}.codes")
        self.inner[name] = self.graph.add("DequantizeLinear", [codes, step, shift], name + VALUES)
        return self.inner[name]

    def clip(self, node: fx.Node, module: Clip, values: str) -> str:
        if any(node in clips for clips in self._absorbed.values()):
            return values
        return super().clip(node, module, values)

    def accumulate(self, node: fx.Node, module: Accumulate, codes: str) -> str:
        name = node.target.removesuffix(".accumulate")
        (rescale,) = node.users
        affine = self.deployed.get_submodule(rescale.target)
        source = self.deployed.get_submodule(node.args[0].target)
        if not _has_bias(node, module):
            weight = self._real_weight(name, module, affine, source)
            turned = self.graph.add("Transpose", [weight], f"{name}.turned", perm=[1, 0])
            return self.graph.add("MatMul", [codes, turned], name)
        quantizer, clips = self._quantizer_behind(rescale)
        if quantizer is not None:
            self._absorbed[quantizer] = clips
            borders = self._borders(quantizer)
            most = _most_in_int8(source.grid) if self._drifts else 127
            operands = self._integers(name, source, *integers(module, affine, borders, most))
        else:
            bias = self.graph.constant(f"{name}.bias", affine.offset.cpu(), "float32")
            operands = self._real_weight(name, module, affine, source), bias
        if module.conv is None:
            return self.graph.add("Gemm", [codes, *operands], name, transB=1)
        return self.graph.add("Conv", [codes, *operands], name, **conv_attributes(module))

    def rescale(self, node: fx.Node, module: Rescale, values: str) -> str:
        source = node.args[0]
        if module.behind_sums and _has_bias(source, self.deployed.get_submodule(source.target)):
            return values
        return super().rescale(node, module, values)

    def _quantizer_behind(self, node: fx.Node) -> tuple[fx.Node | None, list[fx.Node]]:
        """The quantizer that a node's values go to and nowhere else, and the clips on the way."""
        clips: list[fx.Node] = []
        while len(node.users) == 1:
            (node,) = node.users
            kind = self.deployed.get_submodule(node.target) if node.op == "call_module" else None
            if isinstance(kind, ToCodes):
                return node, clips
            if isinstance(kind, Clip):
                clips.append(node)
            elif not isinstance(kind, _MOVES):
                break
        return None, []

    def _ends(self, quantizer: fx.Node) -> tuple[int, int]:
        """The lowest and the highest code, with what the clips before it leave."""
        module = self.deployed.get_submodule(quantizer.target)
        low, high = module.grid.low, module.grid.high
        for clip in self._absorbed.get(quantizer, []):
            bounds = self.deployed.get_submodule(clip.target)
            ends = module.step.new_tensor([bounds.low, bounds.high])
            ends = module.scaled(ends).round().clamp(module.grid.low, module.grid.high)
            least, most = (int(end) for end in ends)
            low, high = (min(max(end, least), most) for end in (low, high))
        return low, high

    def _borders(self, quantizer: fx.Node) -> Tensor:
        """The values where one code ends and the next begins."""
        step = self.deployed.get_submodule(quantizer.target).step
        return (torch.arange(*self._ends(quantizer), device=step.device) + 0.5) * step

    def _integers(
        self, name: str, source: ToCodes, codes: Tensor, bias: Tensor, unit: Tensor
    ) -> tuple[str, str]:
        """Weight and bias behind DequantizeLinear."""
        constant = self.graph.constant
        weight, zeros = codes, []
        if float(codes.abs().max()) > _most_in_int8(source.grid):
            weight, kind = codes + 128, "uint8"
            zeros = [constant(f"{name}.zeros", torch.full_like(unit, 128).cpu(), kind)]
        else:
            kind = "int8"
        inputs = [
            constant(f"{name}.codes", weight.cpu(), kind),
            constant(f"{name}.step", (unit / source.step).cpu(), "float32"),
            *zeros,
        ]
        dequantized = self.graph.add("DequantizeLinear", inputs, f"{name}.weight", axis=0)
        inputs = [
            constant(f"{name}.bias_codes", bias.cpu(), "int32"),
            constant(f"{name}.unit", unit.cpu(), "float32"),
        ]
        return dequantized, self.graph.add("DequantizeLinear", inputs, f"{name}.bias", axis=0)

    def _real_weight(self, name: str, module: Accumulate, affine: Rescale, source: ToCodes) -> str:
        """A weight that an engine sees as a constant."""
        codes = self.graph.constant(f"{name}.codes", module.codes.cpu(), "int8")
        codes = self.cast(codes, "FLOAT", f"{name}.codes_fp32")
        scale = _per_channel(affine.multiplier / source.step, module.codes).cpu()
        scale = self.graph.constant(f"{name}.step", scale, "float32")
        return self.graph.add("Mul", [codes, scale], f"{name}.weight")


def integers(
    module: Accumulate, affine: Rescale, borders: Tensor, most_code: int = 127
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer in whole numbers: ``unit · (codes · inputs + bias)`` is the affine map of its sums.

    The bias is a rounded one. But sums are whole numbers too, so of the factors of the weight, the
    two ways to round and slightly longer or shorter units there is nearly always one with which no
    sum crosses a border that it did not cross before; that one is taken. Where weights of 8 bits
    leave no choice of the factor and borders are many, a sum may fall on the other side of one.

    Args:
        module, affine: the sums and what is behind them.
        borders: ``[codes - 1]``, the values between two codes of the result.
        most_code: what the codes times their factor stay below, if the factor 1 does. Beside 8-bit
            inputs kernels are faster for less than 127, and biases coarser.

    Returns:
        ``codes``, shaped like those of the module, and ``bias`` and ``unit``, ``[out]``; fp64.
    """
    size = affine.multiplier.abs().clamp(min=torch.finfo(torch.float32).tiny)
    offset = affine.offset
    largest = int(module.codes.abs().max().clamp(min=1))
    most_code = most_code if largest <= most_code else 127
    most = max(1, min(most_code // largest, _ROOM // max(module.bound, 1)))
    # the sign of the multiplier goes to the codes, but for -128: int8 has no 128
    turned = (affine.multiplier < 0) & (largest > 127)
    search = _Search(size, offset, borders)
    for factor in range(most, 0, -1):
        search.try_units(factor)
    # a border lies up to this many sums away: what moves the farthest by one moves the others less
    farthest = borders.abs().max() if len(borders) else 0.0  # clips may leave a single code
    reach = (farthest + offset.abs()) / size
    for part in range(1, 65):
        if not search.crossings:
            break
        # the codes, divided by the stretch, must still round to what they are
        stretch = (part / 16 / reach).clamp(max=0.25 / (most * largest))
        for sign in (1, -1):
            search.try_units(most, 1 + sign * stretch)
    unit = torch.where(turned, -search.unit, search.unit)
    bias = torch.where(turned, -search.bias, search.bias)
    codes = module.codes.double() * _per_channel(affine.multiplier / unit, module.codes)
    return codes.round(), bias, unit


class _Search:
    """The best unit and bias so far, channel by channel.

    Args:
        size, offset: ``[out]``, of the affine map of the sums; size is positive.
        borders: ``[codes - 1]``.
    """

    def __init__(self, size: Tensor, offset: Tensor, borders: Tensor) -> None:
        self._size, self._offset, self._borders = size, offset, borders
        self._before = ((borders - offset[:, None]) / size[:, None]).floor()
        self._cost = torch.full_like(offset, torch.inf)
        self.unit = self.bias = torch.zeros_like(offset)

    @property
    def crossings(self) -> bool:
        """Whether in some channel a sum still crosses a border."""
        return bool((self._cost >= 1).any())

    def try_units(self, factor: int, stretch: Tensor | float = 1.0) -> None:
        """Try the sums times ``factor``, in units that make each longer by ``stretch``."""
        size, offset = self._size * stretch, self._offset
        # a channel that BatchNorm has all but switched off gets fewer digits of its weight
        finest = torch.maximum(size / factor, offset.abs() / _ROOM)
        size = torch.where(finest > size / factor, self._size, size)
        for whole in ((offset / finest).floor(), (offset / finest).ceil()):
            rounded = whole * finest
            after = ((self._borders - rounded[:, None]) / size[:, None]).floor()
            # the error of the bias, below a unit of the sums, decides between equals
            error = ((rounded - offset).abs() / size).clamp(max=0.9)
            cost = (after != self._before).sum(1) + error
            better = cost < self._cost
            self._cost = torch.where(better, cost, self._cost)
            self.unit = torch.where(better, finest, self.unit)
            self.bias = torch.where(better, whole, self.bias)


def _per_channel(values: Tensor, weight: Tensor) -> Tensor:
    return values.view(-1, *[1] * (weight.dim() - 1))


def _zero(grid: Grid) -> int:
    """What the code 0 is in uint8."""
    return 128 if grid.signed else 0


def _most_in_int8(inputs: Grid) -> int:
    """The largest code of a weight in int8 that cannot saturate beside such inputs."""
    return min(127, _PAIR // (2 * (inputs.high + _zero(inputs))))


def _has_bias(node: fx.Node, module: Accumulate) -> bool:
    """Whether the operator takes one: Conv and Gemm do, MatMul does not."""
    return module.conv is not None or len(shape_of(node)) == 2
