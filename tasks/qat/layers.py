"""Convolution and linear layer with quantized weights, and the quantizer of an activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ausam_core import in_second_pass
from tasks.qat.fake_quantize import Recipe, Ste, fake_quantize, gradient_scale
from tasks.qat.grid import Grid
from tasks.qat.holds_bias import HoldsBias
from tasks.qat.steps import best_step, to_codes


@dataclass
class Behaviour:
    """What all quantizers of a network do alike; one object, shared by them.

    Attributes:
        ste: where the gradient of a value passes, see :mod:`tasks.qat.fake_quantize`.
        two_passes: whether the method always descends by a second pass. Then the first is the
            ascent pass: its gradient is only a direction to climb in, and steps are not perturbed.
        step_pass: where there are two passes, the one whose gradient steps descend by. In the other
            none is computed.
        perturb: what ε is added to: ``"latent"`` weights, Q(w + ε); or ``"quantized"`` ones,
            Q(w) + ε with ε from ∂L/∂Q(w) (Liu et al., "Sharpness-aware Quantization", case 3).
        floats: let everything pass unquantized.
    """

    ste: Ste = "clip"
    two_passes: bool = False
    step_pass: Literal[1, 2] = 2
    perturb: Literal["latent", "quantized"] = "latent"
    floats: bool = False

    @property
    def ascends(self) -> bool:
        """Whether the pass that is running only finds the direction to climb in."""
        return self.two_passes and not in_second_pass()

    @property
    def learns_steps(self) -> bool:
        """Whether the pass that is running has to find the gradient of the steps."""
        return not self.two_passes or self.ascends == (self.step_pass == 1)


class _QuantizedWeight(HoldsBias):
    """What the two layers share: a latent fp32 ``weight``, a ``step``, a ``grid``.

    ``quantized`` holds this pass's quantized weight while the network's forward runs.
    """

    weight: nn.Parameter
    step: nn.Parameter
    grid: Grid
    quantized: Tensor | None

    def take_over(self, layer: nn.Conv2d | nn.Linear) -> None:
        """Hold the parameters of a float layer, and the modules that a class of its own has."""
        self.weight, self.bias = layer.weight, layer.bias
        for name, child in layer.named_children():
            self.add_module(name, child)

    def add_step(self, grid: Grid, channels: bool) -> None:
        """Become quantized: a step a channel, or one for all, from the weights as they are."""
        self.grid, self.channels, self.quantized = grid, channels, None
        self.step = nn.Parameter(best_step(self.weight, grid, channels=channels))

    @torch.no_grad()
    def restart_step(self) -> None:
        """Choose the step again for the present weights."""
        self.step.copy_(best_step(self.weight, self.grid, channels=self.channels))

    @property
    def gradient_scale(self) -> float:
        count = self.weight[0].numel() if self.channels else self.weight.numel()
        return gradient_scale(self.grid, count)

    def used_weight(self) -> Tensor:
        """The weight of this pass; alone, outside a :class:`QuantizedNetwork`, quantized here."""
        if self.quantized is not None:
            return self.quantized
        recipe = Recipe([self.grid], [self.gradient_scale])
        return fake_quantize([self.weight], [self.step], recipe)[0]

    @torch.no_grad()
    def codes(self) -> Tensor:
        """The integers of the weight, fp32, in its shape."""
        return to_codes(self.weight, self.step, self.grid)


class QuantConv2d(_QuantizedWeight, nn.Conv2d):
    """A convolution with quantized weights."""

    @classmethod
    def from_float(cls, layer: nn.Conv2d, grid: Grid, channels: bool = True) -> QuantConv2d:
        """Take over the parameters of a float layer; it must pad with zeros."""
        with torch.device("meta"):
            new = cls(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
                bias=layer.bias is not None,
            )
        new.take_over(layer)
        new.add_step(grid, channels)
        return new

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.used_weight(), self.used_bias)


class QuantLinear(_QuantizedWeight, nn.Linear):
    """A linear layer with quantized weights."""

    @classmethod
    def from_float(cls, layer: nn.Linear, grid: Grid, channels: bool = True) -> QuantLinear:
        """Take over the parameters of a float layer."""
        with torch.device("meta"):
            new = cls(layer.in_features, layer.out_features, bias=layer.bias is not None)
        new.take_over(layer)
        new.add_step(grid, channels)
        return new

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.used_weight(), self.used_bias)


class ActivationQuantizer(nn.Module):
    """Quantizes one tensor, for all its consumers, with one learned step.

    The step is 0 until :func:`tasks.qat.calibration.calibrate` has seen data.

    Args:
        grid: the integers to round to.
        behaviour: shared by the network.
    """

    #: While calibrating: a sample of what passed.
    seen: list[Tensor] | None = None

    def __init__(self, grid: Grid, behaviour: Behaviour) -> None:
        super().__init__()
        self.grid, self.behaviour = grid, behaviour
        self.step = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.seen is not None:
            self.seen.append(_sample(inputs))
        if self.behaviour.floats:
            return inputs
        recipe = Recipe(
            [self.grid],
            [gradient_scale(self.grid, inputs[0].numel())],
            ste=self.behaviour.ste,
            learn_steps=self.behaviour.learns_steps,
        )
        return fake_quantize([inputs], [self.step], recipe)[0]


QuantizedLayer = QuantConv2d | QuantLinear

_SAMPLE = 1 << 16


def _sample(inputs: Tensor) -> Tensor:
    """Evenly spread values of a tensor, and its largest."""
    flat = inputs.detach().float().flatten()
    # An odd stride visits every channel of either memory layout.
    stride = max(1, flat.numel() // _SAMPLE) | 1
    return torch.cat([flat[::stride], flat.abs().max().view(1)])
