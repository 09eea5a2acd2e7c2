"""An integer network as an ONNX file, in two styles.

``exact`` repeats the integer network operation by operation: codes as whole numbers in fp32, sums
in Conv, affine maps in fp64. Its logits equal those of the torch module to the bit. ``qdq`` is the
standard form with QuantizeLinear and DequantizeLinear, for other tools; the same numbers in another
order of roundings, so a code may flip now and then.

Weights lie in 2 bits (``int2``) or in 8 (``int8``, for readers older than opset 25). No runtime has
a fast convolution for 2 bits: the file is small, not fast.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from ausam_core.errors import AusamError
from tasks.qat.deploy.integer import Accumulate, OrderedMean, Rescale, ToCodes
from tasks.qat.deploy.onnx_graph import OnnxGraph
from tasks.qat.grid import Grid

Style = Literal["exact", "qdq"]
Storage = Literal["int2", "int8"]
ACCUMULATOR = ".accumulator"
"""Ends the name of what holds a layer's sums (``exact``)."""
VALUES = ".values"
"""Ends the name of what holds a quantized tensor (``qdq``)."""


def to_onnx(
    deployed: fx.GraphModule,
    image_shape: tuple[int, int, int],
    style: Style = "exact",
    weights: Storage = "int2",
    metadata: dict[str, str] | None = None,
) -> Any:
    """The ONNX model of an integer network.

    Args:
        deployed: of :func:`tasks.qat.deploy.lower.lower`.
        image_shape: ``(C, H, W)`` of the normalised images that it takes.
        style, weights: see the module.
        metadata: goes into the file.

    Returns:
        An ``onnx.ModelProto`` that onnx's checker has passed.

    Raises:
        AusamError: for an unknown style, and for an onnx that is missing or too old.
    """
    if style not in ("exact", "qdq") or weights not in ("int2", "int8"):
        raise AusamError(
            f"style must be exact or qdq and weights int2 or int8, found {style} and {weights}"
        )
    ShapeProp(deployed).propagate(torch.zeros(1, *image_shape))
    graph = OnnxGraph(int2=weights == "int2")
    emitter = (_Exact if style == "exact" else _Qdq)(deployed, graph, weights)
    for node in deployed.graph.nodes:
        emitter.emit(node)
    facts = {"style": style, "weights": weights, **(metadata or {})}
    classes = list(deployed.graph.nodes)[-2].meta["tensor_meta"].shape[-1]
    return graph.model(image_shape, "logits", classes, facts)


class _Emitter:
    """What both styles share. ``real`` is the type of everything between the layers."""

    real: str

    def __init__(self, deployed: fx.GraphModule, graph: OnnxGraph, weights: Storage) -> None:
        self.deployed, self.graph, self.weights = deployed, graph, weights
        self.names: dict[fx.Node, str] = {}

    def emit(self, node: fx.Node) -> None:
        inputs = [self.names[a] for a in node.args if a in self.names]
        if node.op == "placeholder":
            self.names[node] = "images"
        elif node.op == "call_method":
            self.names[node] = self.output(inputs)
        elif node.op == "call_function" and node.target is operator.add:
            self.names[node] = self.graph.add("Add", inputs, node.name)
        elif node.op == "call_module":
            module = self.deployed.get_submodule(node.target)
            for kind, emit in self.emitters().items():
                if isinstance(module, kind):
                    self.names[node] = emit(node, module, inputs)

    def emitters(self) -> dict[type, Callable[..., str]]:
        return {
            ToCodes: self.codes,
            Accumulate: self.accumulate,
            Rescale: self.rescale,
            OrderedMean: self.mean,
            nn.ReLU: lambda node, _, inputs: self.graph.add("Relu", inputs, node.name),
            nn.Flatten: lambda node, _, inputs: self.graph.add(
                "Flatten", inputs, node.name, axis=1
            ),
            nn.MaxPool2d: self.max_pool,
        }

    def codes(self, node: fx.Node, module: ToCodes, inputs: list[str]) -> str:
        raise NotImplementedError

    def accumulate(self, node: fx.Node, module: Accumulate, inputs: list[str]) -> str:
        raise NotImplementedError

    def output(self, inputs: list[str]) -> str:
        raise NotImplementedError

    def affine(self, name: str, values: str, multiplier: Any, offset: Any, dims: int) -> str:
        """Multiply, then add, a constant for each channel."""
        shape = (-1, *[1] * (dims - 2))
        m = self.graph.constant(f"{name}.multiplier", multiplier.view(shape), self.real)
        o = self.graph.constant(f"{name}.offset", offset.view(shape), self.real)
        product = self.graph.add("Mul", [values, m], f"{name}.product")
        return self.graph.add("Add", [product, o], name)

    def rescale(self, node: fx.Node, module: Rescale, inputs: list[str]) -> str:
        raise NotImplementedError

    def max_pool(self, node: fx.Node, module: nn.MaxPool2d, inputs: list[str]) -> str:
        return self.graph.add(
            "MaxPool",
            inputs,
            node.name,
            kernel_shape=_pair(module.kernel_size),
            strides=_pair(module.stride),
            pads=_pair(module.padding) * 2,
            dilations=_pair(module.dilation),
        )

    def mean(self, node: fx.Node, module: OrderedMean, inputs: list[str]) -> str:
        """Column after column, then row after row, as the module adds."""
        height, width = node.args[0].meta["tensor_meta"].shape[2:]
        values = inputs[0]
        for axis, count in ((3, width), (2, height)):
            if count > 1:
                parts = [f"{node.name}.{axis}.{i}" for i in range(count)]
                self.graph.add(
                    "Split",
                    [values],
                    f"{node.name}.split{axis}",
                    outputs=parts,
                    axis=axis,
                    num_outputs=count,
                )
                values = parts[0]
                for i, part in enumerate(parts[1:]):
                    values = self.graph.add("Add", [values, part], f"{node.name}.sum{axis}.{i}")
        count = self.graph.constant(f"{node.name}.count", height * width, self.real)
        return self.graph.add("Div", [values, count], node.name)

    def stored_weight(self, name: str, module: Accumulate, scale: Any) -> str:
        """The codes in the smallest type that holds them, and a DequantizeLinear."""
        kind = storage_of(module.weight_grid, self.weights)
        weight = self.graph.constant(f"{name}.codes", module.codes.numpy(), kind)
        scale = self.graph.constant(f"{name}.step", scale, "float32")
        attrs = {"axis": 0} if np.ndim(self.graph_value(scale)) else {}
        return self.graph.add("DequantizeLinear", [weight, scale], f"{name}.weight", **attrs)

    def graph_value(self, name: str) -> Any:
        return self.graph.onnx.numpy_helper.to_array(self.graph.constants[name])

    def cast(self, values: str, dtype: str, name: str) -> str:
        kind = getattr(self.graph.onnx.TensorProto, dtype)
        return self.graph.add("Cast", [values], name, to=kind)


class _Exact(_Emitter):
    real = "float64"

    def codes(self, node: fx.Node, module: ToCodes, inputs: list[str]) -> str:
        values = inputs[0]
        if values == "images":
            values = self.cast(values, "DOUBLE", "images.double")
        step = self.graph.constant(f"{node.target}.step", module.step, "float64")
        low = self.graph.constant(f"low{module.grid.low}", module.grid.low, "float64")
        high = self.graph.constant(f"high{module.grid.high}", module.grid.high, "float64")
        scaled = self.graph.add("Div", [values, step], f"{node.target}.scaled")
        rounded = self.graph.add("Round", [scaled], f"{node.target}.rounded")
        clipped = self.graph.add("Clip", [rounded, low, high], f"{node.target}.clipped")
        return self.cast(clipped, "FLOAT", f"{node.target}.codes")

    def accumulate(self, node: fx.Node, module: Accumulate, inputs: list[str]) -> str:
        name = node.target.removesuffix(".accumulate")
        output = name + ACCUMULATOR
        if module.wide and module.conv is not None:
            return self.wide_conv(name, module, inputs[0], output)
        weight = self.stored_weight(name, module, 1.0)
        if module.conv is not None:
            return self.graph.add("Conv", [inputs[0], weight], output, **_conv_attributes(module))
        if module.wide:
            weight = self.cast(weight, "DOUBLE", f"{name}.wide_weight")
            inputs = [self.cast(inputs[0], "DOUBLE", f"{name}.wide_input")]
        turned = self.graph.add("Transpose", [weight], f"{name}.turned", perm=[1, 0])
        return self.graph.add("MatMul", [inputs[0], turned], output)

    def wide_conv(self, name: str, module: Accumulate, codes: str, output: str) -> str:
        """Sums beyond fp32 in int32. Weights shifted by 128: runtimes are fast for uint8 only."""
        unsigned = self.cast(codes, "UINT8", f"{name}.input")
        weight = self.graph.constant(f"{name}.codes", module.codes.numpy() + 128, "uint8")
        zeros = [self.graph.constant(f"uint8.{zero}", zero, "uint8") for zero in (0, 128)]
        attributes = _conv_attributes(module)
        return self.graph.add("ConvInteger", [unsigned, weight, *zeros], output, **attributes)

    def rescale(self, node: fx.Node, module: Rescale, inputs: list[str]) -> str:
        values, dims = inputs[0], len(node.meta["tensor_meta"].shape)
        name = node.target
        if values.endswith(ACCUMULATOR):
            values = self.cast(values, "DOUBLE", f"{name}.sums")
        return self.affine(name, values, module.multiplier, module.offset, dims)

    def output(self, inputs: list[str]) -> str:
        return self.cast(inputs[0], "FLOAT", "logits")


class _Qdq(_Emitter):
    real = "float32"

    def codes(self, node: fx.Node, module: ToCodes, inputs: list[str]) -> str:
        grid, name, values = module.grid, node.target, inputs[0]
        bits = 4 if grid.bits == 4 else 8  # a Clip before uint4 stops ONNX Runtime 1.31
        kind = f"{'' if grid.signed else 'u'}int{bits}"
        if Grid(bits, grid.signed) != grid:  # the type holds more than the grid does
            edges = [(end, getattr(grid, end) * module.step) for end in ("low", "high")]
            ends = [self.graph.constant(f"{name}.{n}", v, "float32") for n, v in edges]
            values = self.graph.add("Clip", [values, *ends], f"{name}.clipped")
        step = self.graph.constant(f"{name}.step", module.step, "float32")
        zero = self.graph.constant(f"zero.{kind}", 0, kind)
        codes = self.graph.add("QuantizeLinear", [values, step, zero], f"{name}.codes")
        return self.graph.add("DequantizeLinear", [codes, step, zero], name + VALUES)

    def accumulate(self, node: fx.Node, module: Accumulate, inputs: list[str]) -> str:
        name = node.target.removesuffix(".accumulate")
        (rescale,) = node.users
        unit = self.deployed.get_submodule(rescale.target).unit
        input_step = self.deployed.get_submodule(node.args[0].target).step
        weight = self.stored_weight(name, module, (unit / input_step).float().numpy())
        if module.conv is not None:
            return self.graph.add("Conv", [inputs[0], weight], name, **_conv_attributes(module))
        return self.graph.add("Gemm", [inputs[0], weight], name, transB=1)

    def rescale(self, node: fx.Node, module: Rescale, inputs: list[str]) -> str:
        dims = len(node.meta["tensor_meta"].shape)
        multiplier = module.multiplier
        if module.unit is not None:
            multiplier = multiplier / module.unit
        return self.affine(node.target, inputs[0], multiplier, module.offset, dims)

    def max_pool(self, node: fx.Node, module: nn.MaxPool2d, inputs: list[str]) -> str:
        pooled = super().max_pool(node, module, inputs)
        # ONNX Runtime 1.31 pulls a QuantizeLinear to the front of a MaxPool, also for uint4, which
        # its MaxPool does not take; it does not look through a Max, here one that changes nothing.
        least = self.graph.constant("least", np.finfo(np.float32).min, "float32")
        return self.graph.add("Max", [pooled, least], f"{node.name}.kept")

    def output(self, inputs: list[str]) -> str:
        return self.graph.add("Identity", inputs, "logits")


def storage_of(grid: Grid, weights: Storage) -> str:
    """The ONNX type that holds the codes of a weight."""
    if weights == "int8" or grid.bits > 4:
        return "int8"
    return "int2" if grid.bits == 2 else "int4"


def _conv_attributes(module: Accumulate) -> dict[str, Any]:
    conv = module.conv
    return dict(
        kernel_shape=list(module.codes.shape[2:]),
        strides=_pair(conv["stride"]),
        pads=_pair(conv["padding"]) * 2,
        dilations=_pair(conv["dilation"]),
        group=conv["groups"],
    )


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
