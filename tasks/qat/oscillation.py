"""Weights that jump to and fro between two codes: measured, and if wanted damped or frozen.

Nagel et al., "Overcoming Oscillations in Quantization-Aware Training" (ICML 2022). A weight
oscillates in a step where its code changes against the direction of its last change (Eq. 3);
``f ← m·o + (1 − m)·f`` is how often (Eq. 4). They hold the harm to be mostly in depthwise nets at 4
bits and fewer.

All of it looks at the latent weights after the update: what a perturbation does to the codes does
not count, and a step counts once, however many passes it took.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ausam_core.errors import AusamError
from tasks.qat.layers import QuantizedLayer
from tasks.qat.network import QuantizedNetwork
from tasks.qat.steps import FLOOR, per_channel

OSCILLATES = 0.005
"""A weight with a higher frequency counts as oscillating, as in the paper's tables."""


class Oscillation:
    """Counts reversals of codes, step by step.

    Args:
        network: its quantized layers are watched.
        momentum: m of the moving averages.
        per_layer: how many evenly spread weights of each layer are watched; None is all. Freezing
            needs all.
    """

    def __init__(
        self, network: QuantizedNetwork, momentum: float = 0.01, per_layer: int | None = 4096
    ) -> None:
        self.momentum = momentum
        self._layers = [_Watched(layer, per_layer) for _, layer in network.layers()]
        codes = self._codes()
        self.codes = codes.to(torch.int8)
        self.direction = torch.zeros_like(self.codes)
        self.frequency = torch.zeros_like(codes)
        self.average = codes
        self.frozen = torch.zeros_like(self.codes, dtype=torch.bool)

    @torch.no_grad()
    def count(self) -> None:
        """Look at the codes once; call it after each update."""
        now = self._codes()
        change = (now - self.codes).sign().to(torch.int8)
        reversed_ = change * self.direction < 0
        self.direction = torch.where(change != 0, change, self.direction)
        self.frequency.lerp_(reversed_.to(self.frequency), self.momentum)
        self.average.lerp_(now, self.momentum)
        self.codes = now.to(torch.int8)

    def rate(self) -> Tensor:
        """The share of watched weights that oscillate, 0-dim, on the device."""
        return (self.frequency > OSCILLATES).float().mean()

    @torch.no_grad()
    def freeze(self, threshold: float) -> None:
        """Hold weights with a higher frequency at their mean code for good (paper, section 4.3).

        Call it after :meth:`count`. A frozen weight is put to the middle of its code, where no
        update of its step can tip it. Weights that do not train (:mod:`tasks.qat.hold`) stay.
        """
        sizes = [layer.weight.numel() for layer in self._layers]
        if sum(sizes) != len(self.frozen):
            raise AusamError("freezing needs Oscillation(…, per_layer=None), which watches all")
        watched = [part.split(sizes) for part in (self.frequency, self.average, self.frozen)]
        for layer, frequency, average, frozen in zip(self._layers, *watched, strict=True):
            if not layer.weight.requires_grad:
                continue
            frozen.logical_or_(frequency > threshold)  # a view, as average is
            weight, codes = layer.weights(), average.round()
            weight.copy_(torch.where(frozen, codes * layer.steps(), weight))
            # a frozen weight's average stays what it was frozen at
            average.copy_(torch.where(frozen, codes, average))

    def state_dict(self) -> dict[str, Any]:
        """Tensors only."""
        names = ("codes", "direction", "frequency", "average", "frozen")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go on from :meth:`state_dict`, if it watched the same weights.

        Returns:
            Whether it did; else counting begins again, as where freezing, which watches all
            weights, is switched on in the middle of training.
        """
        if any(state[name].shape != getattr(self, name).shape for name in state):
            return False
        for name, value in state.items():
            setattr(self, name, value.to(getattr(self, name)))
        return True

    @torch.no_grad()
    def _codes(self) -> Tensor:
        """The codes of the watched weights of all layers, one after the other, fp32."""
        return torch.cat([layer.codes() for layer in self._layers])


class _Watched:
    """Evenly spread weights of a layer, in the order in which they lie in memory."""

    def __init__(self, layer: QuantizedLayer, count: int | None) -> None:
        self.layer = layer
        size = layer.weight.numel()
        # odd, so that all positions of a kernel are visited
        self.stride = 1 if count is None or size <= count else (size // count) | 1
        # dimension 0 is the outermost in either memory format
        self._channel = torch.arange(0, size, self.stride) // layer.weight[0].numel()

    @property
    def weight(self) -> Tensor:
        return self.layer.weight

    def weights(self) -> Tensor:
        """A view, ``[n]``."""
        weight = self.weight.detach()
        flat = weight.as_strided((weight.numel(),), (1,), weight.storage_offset())
        return flat[:: self.stride]

    def steps(self) -> Tensor:
        """The step of each, ``[n]`` or ``[]``."""
        step = self.layer.step.detach()
        if step.dim() == 0:
            return step.clamp(min=FLOOR)
        self._channel = self._channel.to(step.device)
        return step[self._channel].clamp_(min=FLOOR)

    def codes(self) -> Tensor:
        grid = self.layer.grid
        return (self.weights() / self.steps()).clamp_(grid.low, grid.high).round_()


@torch.no_grad()
def dampen(network: QuantizedNetwork, amount: float) -> None:
    """Draw latent weights towards the middle of their codes: ``w ← w − amount·(w − Q(w))``.

    The gradient step of the paper's dampening loss (section 4.2), ``λ‖Q(w) − clip(w)‖²`` with
    ``amount = 2·lr·λ``, apart from the optimizer as AdamW does with weight decay: it enters neither
    momentum, nor ε, nor the losses that AUSAM compares. Weights outside the grid stay.
    """
    for _, layer in network.layers():
        if not layer.weight.requires_grad:
            continue
        weight, step = layer.weight, per_channel(layer.step, layer.weight)
        low, high = layer.grid.low * step, layer.grid.high * step
        pull = layer.codes() * step - weight
        weight.addcmul_(pull, ((weight > low) & (weight < high)).to(weight), value=amount)
