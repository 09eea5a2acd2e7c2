"""The style ``qdq`` with 8-bit weights: laid out so that engines compute in integers.

An engine puts a convolution on integers where both its inputs come from a DequantizeLinear, its
bias is an int32 in units of the product of their steps, and a QuantizeLinear follows. So

- codes lie in uint8, and a grid that the type is too wide for is a Clip of the *codes*: rounding
  keeps the order of values, so ReLU, ReLU6 and the ends of the grid come out the same before and
  after it (QCDQ: Pappalardo et al. 2022, "QONNX");
- codes of weights below 8 bits are multiplied by what 8 bits leave room for, and their step is
  divided by it. In units of the product of the steps the bias is a whole number then, as trained,
  see :mod:`tasks.qat.behind_sums`.

A layer whose result stays a real number, as the branches of a residual sum do unless the policy
rounds them, has no such form: rounding it to 8 bits is not what was trained. It is a convolution in
floating point, whose weight is a Cast and a Mul: these an engine folds into a constant, a
DequantizeLinear ONNX Runtime does not, and then cannot lay the weight out, nor put bias, sum and
ReLU into the convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from tasks.qat.behind_sums import most_in_int8, stretch, unit_of, zero_in_uint8
from tasks.qat.deploy.emitter import conv_attributes, shape_of
from tasks.qat.deploy.integer import (
    Accumulate,
    Clip,
    MaxPool,
    Rescale,
    Reshape,
    Slice,
    ToCodes,
    Transpose,
)
from tasks.qat.deploy.qdq import VALUES, Qdq

_MOVES = (MaxPool, Reshape, Slice, Transpose)
"""What engines carry a QuantizeLinear across, as it gives no other values than it takes."""


class Qcdq(Qdq):
    """See the module."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._absorbed: dict[fx.Node, list[fx.Node]] = {}

    def codes(self, node: fx.Node, module: ToCodes, values: str) -> str:
        name, zero = node.target, zero_in_uint8(module.grid)
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
            operands = self._integers(name, source, *integers(module, affine))
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

    def _integers(
        self, name: str, source: ToCodes, codes: Tensor, bias: Tensor, unit: Tensor
    ) -> tuple[str, str]:
        """Weight and bias behind DequantizeLinear."""
        constant = self.graph.constant
        weight, zeros = codes, []
        if float(codes.abs().max()) > most_in_int8(source.grid):
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


def integers(module: Accumulate, affine: Rescale) -> tuple[Tensor, Tensor, Tensor]:
    """A layer in whole numbers: ``unit · (codes · inputs + bias)`` is the affine map of its sums.

    Returns:
        ``codes``, shaped like those of the module, and ``bias`` and ``unit``, ``[out]``; fp64. A
        unit is negative where a code has no opposite in 8 bits.
    """
    stretched = stretch(module.codes, module.weight_grid, module.input_grid)
    unit = unit_of(affine.multiplier, affine.offset, stretched)
    # the sign of the multiplier goes to the codes, but for -128: int8 has no 128
    keeps_sign = (affine.multiplier < 0) & (module.codes.min() < -127)
    unit = torch.where(keeps_sign, -unit, unit)
    codes = module.codes.double() * _per_channel(affine.multiplier / unit, module.codes)
    return codes.round(), (affine.offset / unit).round(), unit


def _per_channel(values: Tensor, weight: Tensor) -> Tensor:
    return values.view(-1, *[1] * (weight.dim() - 1))


def _has_bias(node: fx.Node, module: Accumulate) -> bool:
    """Whether the operator takes one: Conv and Gemm do, MatMul does not."""
    return module.conv is not None or len(shape_of(node)) == 2
