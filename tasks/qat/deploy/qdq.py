"""The style ``qdq``: the standard form, with QuantizeLinear and DequantizeLinear, for other tools.

The same numbers as the integer network in another order of roundings, so a code may flip now and
then. Weights of 2 and 4 bits and codes of 4 bits lie in types of their own; the form in 8 bits is
:mod:`tasks.qat.deploy.qcdq`.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, fx

from tasks.qat.deploy.emitter import Emitter, conv_attributes, shape_of
from tasks.qat.deploy.integer import Accumulate, FromCodes, OrderedPool, Rescale, Table, ToCodes
from tasks.qat.grid import Grid

VALUES = ".values"
"""Ends the name of what holds a quantized tensor."""
_MERGED = {"Clip", "MaxPool", "Reshape", "Flatten", "Transpose", "Slice", "Pad", "Concat"}


class Qdq(Emitter):
    """See the module."""

    real = "float32"

    def begin(self, images: str) -> str:
        return images

    def output(self, values: str, name: str) -> str:
        return self.graph.add("Identity", [values], name)

    def codes(self, node: fx.Node, module: ToCodes, values: str) -> str:
        grid, name = module.grid, node.target
        bits = 4 if grid.bits == 4 else 8
        kind = f"{'' if grid.signed else 'u'}int{bits}"
        if Grid(bits, grid.signed) != grid:  # the type holds more than the grid does
            edges = [(end, getattr(grid, end) * module.step) for end in ("low", "high")]
            ends = [self.graph.constant(f"{name}.{n}", v, "float32") for n, v in edges]
            values = self.graph.add("Clip", [values, *ends], f"{name}.clipped")
        if bits == 4:
            values = self._kept_apart(name, values)
        step = self.graph.constant(f"{name}.step", module.step, "float32")
        zero = self.graph.constant(f"zero.{kind}", 0, kind)
        codes = self.graph.add("QuantizeLinear", [values, step, zero], f"{name}.codes")
        values = self.graph.add("DequantizeLinear", [codes, step, zero], name + VALUES)
        self.inner[name] = values
        return values

    def values(self, node: fx.Node, module: FromCodes, codes: str) -> str:
        return codes  # what DequantizeLinear gives

    def accumulate(self, node: fx.Node, module: Accumulate, codes: str) -> str:
        name = node.target.removesuffix(".accumulate")
        (rescale,) = node.users
        # BatchNorm's factor goes into the scale of the weight, where it costs nothing
        multiplier = self.deployed.get_submodule(rescale.target).multiplier
        input_step = self.deployed.get_submodule(node.args[0].target).step
        weight = self.stored_weight(name, module, (multiplier / input_step).float().cpu().numpy())
        if module.conv is not None:
            return self.graph.add("Conv", [codes, weight], name, **conv_attributes(module))
        if len(shape_of(node)) == 2:
            return self.graph.add("Gemm", [codes, weight], name, transB=1)
        turned = self.graph.add("Transpose", [weight], f"{name}.turned", perm=[1, 0])
        return self.graph.add("MatMul", [codes, turned], name)

    def rescale(self, node: fx.Node, module: Rescale, values: str) -> str:
        if not module.behind_sums:
            return self.affine(node, module, values)
        shape = module.shape(len(shape_of(node)))
        offset = self.graph.constant(f"{node.target}.offset", module.offset.view(shape), self.real)
        return self.graph.add("Add", [values, offset], node.target)

    def table(self, node: fx.Node, module: Table, codes: str) -> str:
        name = node.target
        quantizer = self.deployed.get_submodule(node.args[0].target)
        step = self.graph.constant(f"{node.args[0].target}.step", quantizer.step, "float32")
        low = self.graph.constant(f"{name}.low", float(module.low), "float32")
        scaled = self.graph.add("Div", [codes, step], f"{name}.scaled")
        shifted = self.graph.add("Sub", [scaled, low], f"{name}.shifted")
        index = self.graph.add("Round", [shifted], f"{name}.index")
        return self.gather(name, module, self.cast(index, "INT64", f"{name}.at"))

    def ordered_pool(self, node: fx.Node, module: OrderedPool, values: str) -> str:
        """The standard pooling where the windows are even, which engines fuse."""
        sizes = shape_of(node.args[0])[2:]
        even = [_even(w, s) for w, s in zip((module.rows, module.columns), sizes, strict=True)]
        kernel = [len(module.rows), len(module.columns)]
        if None in even or float(module.counts.max()) != kernel[0] * kernel[1]:
            return super().ordered_pool(node, module, values)
        if kernel == list(sizes):
            return self.graph.add("GlobalAveragePool", [values], node.target)
        settings = dict(kernel_shape=kernel, strides=even)
        return self.graph.add("AveragePool", [values], node.target, **settings)

    def _kept_apart(self, name: str, values: str) -> str:
        """The values behind a Max that changes nothing, where ONNX Runtime would stumble.

        Version 1.31 merges a Clip with the QuantizeLinear behind it, and pulls a QuantizeLinear to
        the front of what moves values, also for 4-bit types, for which it then has no kernel. It
        does not look through a Max.
        """
        writer = next((n for n in reversed(self.graph.nodes) if values in n.output), None)
        if writer is None or writer.op_type not in _MERGED:
            return values
        least = self.graph.constant("least", np.finfo(np.float32).min, "float32")
        return self.graph.add("Max", [values, least], f"{name}.kept")


def _even(windows: Tensor, size: int) -> int | None:
    """The stride of windows of one length that lie within the map at one distance, else None."""
    starts, outputs = windows[0], windows.shape[1]
    stride = int(starts[1] - starts[0]) if outputs > 1 else 1
    expected = windows.new_tensor(range(len(windows)))[:, None]
    expected = expected + stride * windows.new_tensor(range(outputs))
    return stride if stride > 0 and bool((windows == expected).all()) else None
