"""How each operation between the layers is computed in the integer network.

A rule gets the lowering, the node, and the arguments of the operation by name, as
:mod:`tasks.qat.operations` declares them; it returns a node of the integer graph. Those of pooling
stand in :mod:`tasks.qat.deploy.pooling_rules`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import fx

from ausam_core.errors import AusamError
from tasks.qat.calls import call_of
from tasks.qat.deploy.integer import Arithmetic, Clip, Concat, Pad, Reshape, Slice, Table, Transpose
from tasks.qat.deploy.integer_graph import IntegerGraph
from tasks.qat.operations import FUNCTIONS

RULES: dict[str, Callable[..., fx.Node]] = {}


def rule(function: Callable[..., fx.Node]) -> Callable[..., fx.Node]:
    """Register the function as the rule of the operation of its name."""
    RULES[function.__name__] = function
    return function


def refuse(node: fx.Node, what: str) -> AusamError:
    """The error about a node, and what would be possible."""
    name = getattr(node.target, "__name__", node.target)
    return AusamError(f"{name} (at {node.name}) has no integer form {what}")


@rule
def relu(low: IntegerGraph, node: fx.Node, input, inplace=False):
    return low.add(node.name, Clip(0.0, math.inf), low.tensor(input))


@rule
def relu6(low: IntegerGraph, node: fx.Node, input, inplace=False):
    return low.add(node.name, Clip(0.0, 6.0), low.tensor(input))


@rule
def hardtanh(low: IntegerGraph, node: fx.Node, input, min_val, max_val, inplace=False):
    return low.add(node.name, Clip(min_val, max_val), low.tensor(input))


@rule
def clamp(low: IntegerGraph, node: fx.Node, input, min, max):
    ends = low.number((min, max))
    if not all(end is None or isinstance(end, (int, float)) for end in ends):
        raise refuse(node, "with ends that are tensors; give numbers")
    least, most = ends
    clip = Clip(-math.inf if least is None else least, math.inf if most is None else most)
    return low.add(node.name, clip, low.tensor(input))


def _arithmetic(
    low: IntegerGraph, node: fx.Node, operation: str, input: Any, other: Any
) -> fx.Node:
    """Two tensors, or a tensor and a number on either side."""
    tensors = [isinstance(v, fx.Node) and low.shapes.is_tensor(v) for v in (input, other)]
    if all(tensors):
        functions = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "truediv"}
        function = getattr(operator, functions[operation])
        return low.call(function, low.tensor(input), low.tensor(other))
    values, number = (input, other) if tensors[0] else (other, input)
    number = float(low.number(number))
    return low.add(node.name, Arithmetic(operation, number, not tensors[0]), low.tensor(values))


def _scaled(low: IntegerGraph, node: fx.Node, value: Any, alpha: Any) -> Any:
    """``alpha · value``, for the sums that have such a factor."""
    if alpha == 1:
        return value
    if not (isinstance(value, fx.Node) and low.shapes.is_tensor(value)):
        return low.number(value) * alpha
    return low.add(f"{node.name}.alpha", Arithmetic("Mul", float(alpha)), low.tensor(value))


@rule
def add(low: IntegerGraph, node: fx.Node, input, other, alpha=1):
    return _sum(low, node, "Add", input, other, alpha)


@rule
def sub(low: IntegerGraph, node: fx.Node, input, other, alpha=1):
    return _sum(low, node, "Sub", input, other, alpha)


def _sum(low: IntegerGraph, node: fx.Node, operation: str, input: Any, other: Any, alpha: Any):
    scaled = _scaled(low, node, other, low.number(alpha))
    if scaled is other or not isinstance(scaled, fx.Node):
        return _arithmetic(low, node, operation, input, scaled)
    if isinstance(input, fx.Node) and low.shapes.is_tensor(input):
        function = {"Add": operator.add, "Sub": operator.sub}[operation]
        return low.call(function, low.tensor(input), scaled)
    return low.add(node.name, Arithmetic(operation, float(low.number(input)), True), scaled)


@rule
def mul(low: IntegerGraph, node: fx.Node, input, other):
    return _arithmetic(low, node, "Mul", input, other)


@rule
def div(low: IntegerGraph, node: fx.Node, input, other, rounding_mode=None):
    if rounding_mode is not None:
        raise refuse(node, f"with rounding_mode={rounding_mode!r}; leave the quotient as it is")
    return _arithmetic(low, node, "Div", input, other)


@rule
def neg(low: IntegerGraph, node: fx.Node, input):
    return low.add(node.name, Arithmetic("Mul", -1.0), low.tensor(input))


@rule
def identity(low: IntegerGraph, node: fx.Node, input, anything=(), by_name=None):
    for value in (*anything, *(by_name or {}).values()):
        if isinstance(value, torch.dtype) and value not in (torch.float32, torch.float64):
            raise refuse(node, f"with {value}, which rounds; leave that to the quantizers")
    return low.tensor(input)


@rule
def dropout(
    low: IntegerGraph, node: fx.Node, input, p=0.5, training=True, inplace=False, train=None
):
    if (training if train is None else train) and low.number(p) > 0:
        raise refuse(node, "while it drops in evaluation too; give it training=self.training")
    return low.tensor(input)


@rule
def pad(
    low: IntegerGraph, node: fx.Node, input, pad=None, mode="constant", value=None, padding=None
):
    edges = list(low.number(padding if pad is None else pad))
    rank = len(low.shapes.of(input)) + 1
    if mode != "constant" or min(edges) < 0 or len(edges) > 2 * (rank - 1):
        raise refuse(node, "but with a constant, outwards, and not over the batch")
    edges += [0] * (2 * rank - len(edges))
    before, after = edges[0::2][::-1], edges[1::2][::-1]
    return low.add(node.name, Pad(before, after, low.number(value) or 0.0), low.tensor(input))


@rule
def reshape(low: IntegerGraph, node: fx.Node, input, shape=(), by_name=None):
    old, new = low.shapes.of(input), low.shapes.of(node)
    if old == new:
        return low.tensor(input)
    return low.add(node.name, Reshape(new), low.tensor(input))


@rule
def permute(low: IntegerGraph, node: fx.Node, input, dims):
    dims = low.number(dims)
    dims = dims[0] if isinstance(dims[0], (tuple, list)) else dims
    return _transposed(low, node, input, dims)


@rule
def transpose(low: IntegerGraph, node: fx.Node, input, dim0, dim1):
    order = list(range(len(low.shapes.of(input)) + 1))
    first, second = low.number((dim0, dim1))
    order[first], order[second] = order[second], order[first]
    return _transposed(low, node, input, order)


def _transposed(low: IntegerGraph, node: fx.Node, input: fx.Node, order: Any) -> fx.Node:
    rank = len(low.shapes.of(input)) + 1
    order = [d % rank for d in order]
    if order[0] != 0:
        raise refuse(node, "where it moves the batch from dimension 0")
    return low.add(node.name, Transpose(order), low.tensor(input))


@rule
def channel_shuffle(low: IntegerGraph, node: fx.Node, input, groups):
    channels, *rest = low.shapes.of(input)
    split = Reshape((groups, channels // groups, *rest))
    apart = low.add(f"{node.name}.groups", split, low.tensor(input))
    order = [0, 2, 1, *range(3, 3 + len(rest))]
    turned = low.add(f"{node.name}.turned", Transpose(order), apart)
    return low.add(node.name, Reshape((channels, *rest)), turned)


@rule
def cat(low: IntegerGraph, node: fx.Node, tensors, dim=0):
    axis = low.number(dim) % (len(low.shapes.of(node)) + 1)
    if axis == 0:
        raise refuse(node, "along the batch")
    if isinstance(tensors, fx.Node):
        pieces = _parts(low, node, tensors)
        parts = [piece.of(low, f"{node.name}.{i}") for i, piece in enumerate(pieces)]
    else:
        parts = [low.tensor(tensor) for tensor in tensors]
    return low.add(node.name, Concat(axis), *parts)


@rule
def getitem(low: IntegerGraph, node: fx.Node, input, index):
    """A part of a tensor, or one of the tensors that chunk or split gives."""
    if not low.shapes.is_tensor(input):
        return _parts(low, node, input)[index].of(low, node.name)
    index = low.number(index)
    index = list(index) if isinstance(index, tuple) else [index]
    rank = len(low.shapes.of(input)) + 1
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index[at : at + 1] = [slice(None)] * (rank - len(index) + 1)
    if not all(isinstance(part, slice) for part in index):
        raise refuse(node, "but with slices; a single index drops a dimension")
    result = low.tensor(input)
    for axis, part in enumerate(index):
        if part == slice(None):
            continue
        if axis == 0 or (part.step or 1) < 1:
            raise refuse(node, "with a slice of the batch, or one that runs backwards")
        start, end, step = part.indices(low.shapes.of(input)[axis - 1])
        result = low.add(f"{node.name}.{axis}", Slice(axis, start, end, step), result)
    return result


@dataclass(frozen=True)
class _Part:
    """A piece of a tensor along an axis, as chunk and split give."""

    tensor: fx.Node
    axis: int
    start: int
    end: int

    def of(self, low: IntegerGraph, name: str) -> fx.Node:
        """The piece in the integer network."""
        return low.add(name, Slice(self.axis, self.start, self.end), low.tensor(self.tensor))


def _parts(low: IntegerGraph, node: fx.Node, source: fx.Node) -> list[_Part]:
    """The pieces that a node reads from another, which gives several."""
    call = call_of(low.body, source)
    if call.operation == "getitem":
        return _parts(low, node, call.arguments["input"])[call.arguments["index"]]
    if call.operation not in ("chunk", "split"):
        raise refuse(node, f"on what {source.name} gives")
    shapes = low.shapes.parts(source)
    axis = low.number(call.arguments["dim"]) % len(shapes[0])
    if axis == 0:
        raise refuse(node, "where the batch is split")
    ends = list(accumulate(shape[axis] for shape in shapes))
    return [
        _Part(call.arguments["input"], axis, start, end)
        for start, end in zip([0, *ends], ends, strict=False)
    ]


def _table(name: str) -> Callable[..., fx.Node]:
    def look_up(low: IntegerGraph, node: fx.Node, input, **settings):
        settings.pop("inplace", None)
        quantizer = low.codes(input)
        module = low.module(quantizer)
        codes = torch.arange(module.grid.low, module.grid.high + 1, dtype=torch.float64)
        values = FUNCTIONS[name](codes * module.step.cpu(), **settings)
        return low.add(node.name, Table(values, module.grid.low), quantizer)

    return look_up


RULES.update({name: _table(name) for name in FUNCTIONS})
