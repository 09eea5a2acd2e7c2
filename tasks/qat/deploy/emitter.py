"""The nodes of an ONNX graph for the parts of an integer network: what both styles write alike."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import torch
from torch import fx

from tasks.qat.deploy.integer import (
    Accumulate,
    Arithmetic,
    Clip,
    Concat,
    FromCodes,
    MaxPool,
    OrderedPool,
    Pad,
    Rescale,
    Reshape,
    Slice,
    Table,
    ToCodes,
    Transpose,
)
from tasks.qat.deploy.onnx_graph import OnnxGraph
from tasks.qat.grid import Grid

_BINARY = {operator.add: "Add", operator.sub: "Sub", operator.mul: "Mul", operator.truediv: "Div"}


class Emitter:
    """Writes an integer network, node by node, into a graph.

    Args:
        deployed: the network; its nodes know their shapes (``ShapeProp``).
        graph: where to.
        weights: ``"int2"`` or ``"int8"``, the smallest type that weights may lie in.

    Attributes:
        real: the type of everything between the layers.
        inner: for each quantizer and sum, the name of what holds it in the graph.
    """

    real: str

    def __init__(self, deployed: fx.GraphModule, graph: OnnxGraph, weights: str) -> None:
        self.deployed, self.graph, self.weights = deployed, graph, weights
        self.names: dict[fx.Node, str] = {}
        self.inner: dict[str, str] = {}
        self._outputs = iter(deployed.outputs)

    def emit(self, node: fx.Node) -> None:
        """Write one node."""
        inputs = [self.names[source] for source in node.args if source in self.names]
        if node.op == "placeholder":
            self.names[node] = "images"
        elif node.op == "call_method" and node.target == "double":
            self.names[node] = self.begin(inputs[0])
        elif node.op == "call_method":
            self.names[node] = self.output(inputs[0], self.graph.free(next(self._outputs)))
        elif node.op == "call_function":
            self.names[node] = self.graph.add(_BINARY[node.target], inputs, node.name)
        elif node.op == "call_module":
            module = self.deployed.get_submodule(node.target)
            write = getattr(self, _WRITERS[type(module)])
            self.names[node] = write(node, module, *inputs)

    def begin(self, images: str) -> str:
        """The input in the type of reals."""
        raise NotImplementedError

    def output(self, values: str, name: str) -> str:
        """A result, fp32, under its name."""
        raise NotImplementedError

    def codes(self, node: fx.Node, module: ToCodes, values: str) -> str:
        raise NotImplementedError

    def values(self, node: fx.Node, module: FromCodes, codes: str) -> str:
        raise NotImplementedError

    def accumulate(self, node: fx.Node, module: Accumulate, codes: str) -> str:
        raise NotImplementedError

    def rescale(self, node: fx.Node, module: Rescale, values: str) -> str:
        raise NotImplementedError

    def table(self, node: fx.Node, module: Table, codes: str) -> str:
        raise NotImplementedError

    def affine(self, node: fx.Node, module: Rescale, values: str) -> str:
        """Multiply, then add, a constant for each channel."""
        name, shape = node.target, module.shape(len(shape_of(node)))
        multiplier, offset = module.multiplier.view(shape), module.offset.view(shape)
        m = self.graph.constant(f"{name}.multiplier", multiplier, self.real)
        o = self.graph.constant(f"{name}.offset", offset, self.real)
        product = self.graph.add("Mul", [values, m], f"{name}.product")
        return self.graph.add("Add", [product, o], name)

    def gather(self, name: str, module: Table, index: str) -> str:
        """The values of a table at indices from 0."""
        values = self.graph.constant(f"{name}.values", module.values, self.real)
        return self.graph.add("Gather", [values, index], name, axis=0)

    def arithmetic(self, node: fx.Node, module: Arithmetic, values: str) -> str:
        number = self.graph.constant(f"{node.target}.number", module.number, self.real)
        pair = [number, values] if module.number_first else [values, number]
        return self.graph.add(module.operation, pair, node.target)

    def clip(self, node: fx.Node, module: Clip, values: str) -> str:
        if (module.low, module.high) == (0.0, math.inf):
            return self.graph.add("Relu", [values], node.target)
        ends = [
            "" if math.isinf(end) else self.graph.constant(f"{node.target}.{name}", end, self.real)
            for name, end in (("low", module.low), ("high", module.high))
        ]
        return self.graph.add("Clip", [values, *ends], node.target)

    def ordered_pool(self, node: fx.Node, module: OrderedPool, values: str) -> str:
        """Column after column, then row after row, as the module adds."""
        name = node.target
        for axis, windows in ((3, module.columns), (2, module.rows)):
            if module.beyond[axis - 2]:
                pads = [int(d == 4 + axis) for d in range(8)]
                values = self.padded(f"{name}.edge{axis}", values, pads, 0.0)
            parts = []
            for i, window in enumerate(windows):
                index = self.graph.constant(f"{name}.window{axis}.{i}", window, "int64")
                part = f"{name}.part{axis}.{i}"
                parts.append(self.graph.add("Gather", [values, index], part, axis=axis))
            values = parts[0]
            for i, part in enumerate(parts[1:]):
                values = self.graph.add("Add", [values, part], f"{name}.sum{axis}.{i}")
        if module.counts.dim() == 0 and float(module.counts) == 1:
            return values
        counts = self.graph.constant(f"{name}.counts", module.counts, self.real)
        return self.graph.add("Div", [values, counts], name)

    def max_pool(self, node: fx.Node, module: MaxPool, values: str) -> str:
        pads = list(module.pads)
        if any(edge >= size for edge, size in zip(pads, 2 * module.kernel, strict=True)):
            # more than an engine takes, as between the pixels of a dilated window
            edges = [0, 0, *pads[:2], 0, 0, *pads[2:]]
            values = self.padded(f"{node.target}.edge", values, edges, -math.inf)
            pads = [0, 0, 0, 0]
        return self.graph.add(
            "MaxPool",
            [values],
            node.target,
            kernel_shape=list(module.kernel),
            strides=list(module.stride),
            pads=pads,
            dilations=list(module.dilation),
        )

    def reshape(self, node: fx.Node, module: Reshape, values: str) -> str:
        if len(module.shape) == 1:
            return self.graph.add("Flatten", [values], node.target, axis=1)
        shape = self.graph.constant(f"{node.target}.shape", [-1, *module.shape], "int64")
        return self.graph.add("Reshape", [values, shape], node.target)

    def transpose(self, node: fx.Node, module: Transpose, values: str) -> str:
        return self.graph.add("Transpose", [values], node.target, perm=list(module.order))

    def slice(self, node: fx.Node, module: Slice, values: str) -> str:
        settings = dict(start=module.start, end=module.end, axis=module.axis, step=module.step)
        constants = [
            self.graph.constant(f"{node.target}.{name}", [value], "int64")
            for name, value in settings.items()
        ]
        return self.graph.add("Slice", [values, *constants], node.target)

    def pad(self, node: fx.Node, module: Pad, values: str) -> str:
        return self.padded(node.target, values, [*module.before, *module.after], module.value)

    def concat(self, node: fx.Node, module: Concat, *values: str) -> str:
        return self.graph.add("Concat", list(values), node.target, axis=module.axis)

    def padded(self, name: str, values: str, pads: list[int], value: float) -> str:
        """A constant beyond the edges: first all beginnings, then all ends."""
        edges = self.graph.constant(f"{name}.pads", pads, "int64")
        constant = self.graph.constant(f"{name}.value", value, self.real)
        return self.graph.add("Pad", [values, edges, constant], name)

    def stored_weight(self, name: str, module: Accumulate, scale: Any) -> str:
        """The codes in the smallest type that holds them, and a DequantizeLinear."""
        kind = storage_of(module.weight_grid, self.weights)
        weight = self.graph.constant(f"{name}.codes", module.codes.cpu().numpy(), kind)
        step = self.graph.constant(f"{name}.step", scale, "float32")
        attrs = {"axis": 0} if np.ndim(scale) else {}
        return self.graph.add("DequantizeLinear", [weight, step], f"{name}.weight", **attrs)

    def cast(self, values: str, dtype: str, name: str) -> str:
        """The values in another type of ONNX."""
        kind = getattr(self.graph.onnx.TensorProto, dtype)
        return self.graph.add("Cast", [values], name, to=kind)


_WRITERS: dict[type, str] = {
    ToCodes: "codes",
    FromCodes: "values",
    Accumulate: "accumulate",
    Rescale: "rescale",
    Table: "table",
    Arithmetic: "arithmetic",
    Clip: "clip",
    OrderedPool: "ordered_pool",
    MaxPool: "max_pool",
    Reshape: "reshape",
    Transpose: "transpose",
    Slice: "slice",
    Pad: "pad",
    Concat: "concat",
}


def shape_of(node: fx.Node) -> torch.Size:
    """The shape of a node of an integer network, the batch included."""
    return node.meta["tensor_meta"].shape


def storage_of(grid: Grid, weights: str) -> str:
    """The ONNX type that holds the codes of a weight."""
    if weights == "int8" or grid.bits > 4:
        return "int8"
    return "int2" if grid.bits == 2 else "int4"


def conv_attributes(module: Accumulate) -> dict[str, Any]:
    """The attributes of a Conv; padding by name is spelled out."""
    conv, kernel = module.conv, list(module.codes.shape[2:])
    dilation = list(conv["dilation"])
    padding = conv["padding"]
    if padding == "valid":
        before, after = [0, 0], [0, 0]
    elif padding == "same":  # the surplus of an even kernel goes to the end
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = [t // 2 for t in total]
        after = [t - b for t, b in zip(total, before, strict=True)]
    else:
        before = after = list(padding)
    return dict(
        kernel_shape=kernel,
        strides=list(conv["stride"]),
        pads=[*before, *after],
        dilations=dilation,
        group=conv["groups"],
    )
