"""The style ``exact``: the integer network operation by operation.

Codes are whole numbers in fp32, sums are made by Conv and MatMul, reals are fp64. The results equal
those of the torch module to the bit.
"""

from __future__ import annotations

from torch import fx

from tasks.qat.deploy.emitter import Emitter, conv_attributes, storage_of
from tasks.qat.deploy.integer import Accumulate, FromCodes, Rescale, Table, ToCodes

ACCUMULATOR = ".accumulator"
"""Ends the name of what holds a layer's sums."""


class Exact(Emitter):
    """See the module."""

    real, real_type = "float64", "DOUBLE"

    def begin(self, images: str) -> str:
        return self.cast(images, self.real_type, "images.real")

    def output(self, values: str, name: str) -> str:
        return self.cast(values, "FLOAT", name)

    def codes(self, node: fx.Node, module: ToCodes, values: str) -> str:
        name, grid = node.target, module.grid
        step = self.graph.constant(f"{name}.step", module.step, self.real)
        low = self.graph.constant(f"low{grid.low}", grid.low, self.real)
        high = self.graph.constant(f"high{grid.high}", grid.high, self.real)
        scaled = self.graph.add("Div", [values, step], f"{name}.scaled")
        rounded = self.graph.add("Round", [scaled], f"{name}.rounded")
        clipped = self.graph.add("Clip", [rounded, low, high], f"{name}.clipped")
        self.inner[name] = self.cast(clipped, "FLOAT", f"{name}.codes")
        return self.inner[name]

    def values(self, node: fx.Node, module: FromCodes, codes: str) -> str:
        name = node.target
        step = self.graph.constant(f"{name}.step", module.step, self.real)
        return self.graph.add("Mul", [self.cast(codes, self.real_type, f"{name}.real"), step], name)

    def accumulate(self, node: fx.Node, module: Accumulate, codes: str) -> str:
        name = node.target.removesuffix(".accumulate")
        self.inner[node.target] = self._sums(name, module, codes)
        return self.inner[node.target]

    def rescale(self, node: fx.Node, module: Rescale, values: str) -> str:
        if module.behind_sums:
            values = self.cast(values, self.real_type, f"{node.target}.sums")
        return self.affine(node, module, values)

    def table(self, node: fx.Node, module: Table, codes: str) -> str:
        name = node.target
        low = self.graph.constant(f"{name}.low", module.low, "float32")
        index = self.graph.add("Sub", [codes, low], f"{name}.index")
        return self.gather(name, module, self.cast(index, "INT64", f"{name}.at"))

    def _sums(self, name: str, module: Accumulate, codes: str) -> str:
        output = name + ACCUMULATOR
        if module.wide and module.conv is not None:
            return self._wide_conv(name, module, codes, output)
        kind = storage_of(module.weight_grid, self.weights)
        weight = self.graph.constant(f"{name}.codes", module.codes.cpu().numpy(), kind)
        # A Cast, as runtimes do not fold a DequantizeLinear of constants, nor pack what it gives.
        weight = self.cast(weight, "FLOAT", f"{name}.weight")
        if module.conv is not None:
            return self.graph.add("Conv", [codes, weight], output, **conv_attributes(module))
        if module.wide:
            weight = self.cast(weight, "DOUBLE", f"{name}.wide_weight")
            codes = self.cast(codes, "DOUBLE", f"{name}.wide_input")
        turned = self.graph.add("Transpose", [weight], f"{name}.turned", perm=[1, 0])
        return self.graph.add("MatMul", [codes, turned], output)

    def _wide_conv(self, name: str, module: Accumulate, codes: str, output: str) -> str:
        """Sums beyond fp32 in int32. What is signed is shifted by 128: runtimes are fast for uint8
        only, and pad with the zero point."""
        zero = 128 if module.input_grid.signed else 0
        if zero:
            shift = self.graph.constant("shift", float(zero), "float32")
            codes = self.graph.add("Add", [codes, shift], f"{name}.shifted")
        unsigned = self.cast(codes, "UINT8", f"{name}.input")
        weight = self.graph.constant(f"{name}.codes", module.codes.cpu().numpy() + 128, "uint8")
        zeros = [self.graph.constant(f"uint8.{z}", z, "uint8") for z in (zero, 128)]
        attributes = conv_attributes(module)
        return self.graph.add("ConvInteger", [unsigned, weight, *zeros], output, **attributes)
