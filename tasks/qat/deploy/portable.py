"""The style ``portable``: the layout of ``exact`` in types that every engine has.

Sums of codes are exact as there, but reals are fp32: where fp32 and fp64 round a value to different
sides of the border between two codes, a code differs by one. No 2- or 4-bit type, no fp64, no
opset above 21, and no operator that is not in fp32.
"""

from __future__ import annotations

from tasks.qat.deploy.emitter import conv_attributes
from tasks.qat.deploy.exact import ACCUMULATOR, Exact
from tasks.qat.deploy.integer import Accumulate


class Portable(Exact):
    """See the module."""

    real, real_type = "float32", "FLOAT"

    def _sums(self, name: str, module: Accumulate, codes: str) -> str:
        """Sums beyond 2²⁴ are rounded by fp32, by less than the affine map behind them is."""
        output = name + ACCUMULATOR
        weight = self.graph.constant(f"{name}.codes", module.codes.cpu().numpy(), "int8")
        weight = self.cast(weight, "FLOAT", f"{name}.weight")
        if module.conv is not None:
            return self.graph.add("Conv", [codes, weight], output, **conv_attributes(module))
        turned = self.graph.add("Transpose", [weight], f"{name}.turned", perm=[1, 0])
        return self.graph.add("MatMul", [codes, turned], output)
