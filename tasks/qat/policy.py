"""Which layer gets how many bits, and the table of what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from torch import nn

from ausam_core.errors import AusamError
from tasks.qat.grid import Grid


@dataclass(frozen=True)
class Policy:
    """How a float network is quantized; W2A4 with 8-bit ends by default.

    The paper says nothing about first and last layer; 8 bits there are the habit of the field
    (QDrop, PACT, the code of Nagel et al. 2022).

    Args:
        weight_bits: bits of weights, signed, 2 to 8.
        activation_bits: bits of the inputs of layers, unsigned after ReLU, 2 to 8.
        first_last: weights and inputs of the first and the last layer: a number of bits; a pair, of
            weights and of inputs; ``"same"`` as the others; or ``"fp"`` to leave these layers in
            floating point. With ``(7, 8)`` products cannot saturate in kernels for int8 that add
            two of them in 16 bits.
        depthwise_bits: bits of the weights of depthwise convolutions; None is ``weight_bits``. With
            9 weights a filter they are the weak spot of 2 bits.
        granularity: a step for each output ``"channel"`` of a weight, or one a ``"tensor"``.
        function_bits: bits of what a function like SiLU or sigmoid reads; the integer network holds
            its values in a table of as many entries as there are codes, 256 at 8 bits, 16 at 4.
        sum_bits: bits of what a sum of two tensors reads and gives, for engines that add integers;
            None leaves the sums of residual blocks real until a layer reads them.

    Raises:
        AusamError: for bits out of range and unknown words.
    """

    weight_bits: int = 2
    activation_bits: int = 4
    first_last: int | tuple[int, int] | Literal["same", "fp"] = 8
    depthwise_bits: int | None = None
    granularity: Literal["channel", "tensor"] = "channel"
    function_bits: int = 8
    sum_bits: int | None = None

    def __post_init__(self) -> None:
        Grid(self.weight_bits, signed=True)
        Grid(self.activation_bits, signed=False)
        Grid(self.function_bits, signed=False)
        if self.first_last not in ("same", "fp"):
            if isinstance(self.first_last, str) or len(self._ends) != 2:
                raise AusamError(
                    'first_last must be bits, a pair of them, "same" or "fp", found '
                    f"{self.first_last!r}"
                )
            for bits in self._ends:
                Grid(bits, signed=True)
        for bits in (self.depthwise_bits, self.sum_bits):
            if bits is not None:
                Grid(bits, signed=True)
        if self.granularity not in ("channel", "tensor"):
            raise AusamError(
                f'granularity must be "channel" or "tensor", found {self.granularity!r}'
            )

    @classmethod
    def of_config(cls, settings: Mapping[str, Any] | None) -> Policy:
        """The policy that a config names; what it leaves out is as by default.

        Raises:
            AusamError: for a setting that there is not.
        """
        settings, known = settings or {}, [field.name for field in fields(cls)]
        for name, value in settings.items():
            if name not in known:
                raise AusamError(
                    f"the policy has no setting {name}, found {name}={value!r}; there are "
                    f"{', '.join(known)}"
                )
        return cls(**settings)

    def weight_grid(self, layer: nn.Module, is_end: bool) -> Grid:
        """The integers of a layer's weights."""
        if is_end and self.first_last != "same":
            return Grid(self._ends[0], signed=True)
        if self.depthwise_bits is not None and is_depthwise(layer):
            return Grid(self.depthwise_bits, signed=True)
        return Grid(self.weight_bits, signed=True)

    def activation_grid(self, is_end: bool, signed: bool) -> Grid:
        """The integers of a tensor that enters a layer."""
        is_own = is_end and self.first_last != "same"
        return Grid(self._ends[1] if is_own else self.activation_bits, signed=signed)

    @property
    def _ends(self) -> tuple[int, int]:
        """Bits of weights and inputs of the first and the last layer."""
        pair = self.first_last
        return tuple(pair) if isinstance(pair, (tuple, list)) else (pair, pair)


@dataclass(frozen=True)
class LayerRow:
    """One call of a quantized layer; a layer that is called twice has two rows.

    Attributes:
        name: of the layer, as in the float network.
        op: ``conv``, ``depthwise`` or ``linear``.
        shape: of the weight.
        groups: of the convolution; 1 for a linear layer.
        weight_bits, activation_bits: of the weight and of the input.
        activation: name of the quantizer of the input; layers that read one tensor share it.
        signed: whether the input has negative codes.
    """

    name: str
    op: str
    shape: list[int]
    groups: int
    weight_bits: int
    activation_bits: int
    activation: str
    signed: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution with one input channel a group."""
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1


def format_table(rows: list[LayerRow]) -> str:
    """The layers as a table, for the log."""
    lines = [("layer", "op", "weight", "bits", "input", "input quantizer")]
    for row in rows:
        shape = "x".join(map(str, row.shape)) + (f" /{row.groups}" if row.groups > 1 else "")
        grid = f"{'s' if row.signed else 'u'}{row.activation_bits}"
        lines.append((row.name, row.op, shape, f"s{row.weight_bits}", grid, row.activation))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rendered = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(line.rstrip() for line in rendered)
