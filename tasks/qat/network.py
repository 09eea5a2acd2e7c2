"""A network whose weights are all quantized once per pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core import in_second_pass
from ausam_core.errors import AusamError
from tasks.qat.fake_quantize import Recipe, fake_quantize
from tasks.qat.layers import ActivationQuantizer, Behaviour, QuantConv2d, QuantLinear
from tasks.qat.policy import LayerRow
from tasks.qat.step_guard import guard_steps


class QuantizedNetwork(nn.Module):
    """Runs a converted graph; made by :func:`tasks.qat.convert`.

    Before the graph runs, the weights of all its layers are quantized, in one node of the autograd
    graph; afterwards they are dropped. A value quantized for one pass is never seen by another.

    Args:
        body: the converted graph, with the module names of the float network.
        behaviour: shared by all its quantizers.
        table: a row for each quantized layer.
    """

    def __init__(
        self, body: torch.fx.GraphModule, behaviour: Behaviour, table: list[LayerRow]
    ) -> None:
        super().__init__()
        self.body, self.behaviour, self.table = body, behaviour, table
        # not in the state: the latent weights as they were in the ascent pass
        self._before: list[Tensor] = []
        guard_steps(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy is guarded too."""
        super().__setstate__(state)
        guard_steps(self)

    def forward(self, inputs: Tensor) -> Tensor:
        with self.quantized_weights():
            return self.body(inputs)

    @contextmanager
    def quantized_weights(self) -> Iterator[None]:
        """Give every layer its quantized weight for the enclosed forward pass."""
        layers = [layer for _, layer in self.layers()]
        for layer, weight in zip(layers, self._weights(layers), strict=True):
            layer.quantized = weight
        try:
            yield
        finally:
            for layer in layers:
                layer.quantized = None

    def layers(self) -> list[tuple[str, QuantConv2d | QuantLinear]]:
        """Names (as in the float network) and quantized layers, in the order of the graph."""
        return [(row.name, self.body.get_submodule(row.name)) for row in self.table]

    def activations(self) -> dict[str, ActivationQuantizer]:
        """The activation quantizers by name, in the order of the graph."""
        return {
            name: module
            for name, module in self.body.named_modules()
            if isinstance(module, ActivationQuantizer)
        }

    def steps(self) -> dict[str, Tensor]:
        """Every step by the name of its layer or activation."""
        found = {name: layer.step for name, layer in self.layers()}
        return found | {name: quantizer.step for name, quantizer in self.activations().items()}

    def check_steps(self) -> None:
        """Refuse steps that cannot be used; waits for the device.

        Raises:
            AusamError: names the first layer whose step is 0, negative, infinite or NaN.
        """
        for name, step in self.steps().items():
            low, high = torch.stack(step.detach().aminmax()).tolist()
            if low == high == 0.0 and name in self.activations():
                raise AusamError(
                    f"the activation step of {name} is 0: the network was never calibrated; train "
                    "it with tools/train.py, or call tasks.qat.calibrate(network, loader)"
                )
            if not 0.0 < low <= high < float("inf"):
                raise AusamError(
                    f"the step of {name} became {high if low > 0.0 else low}; lower the "
                    "learning rate, or that of the steps alone (a parameter group of their own, in "
                    "MMEngine optim_wrapper.paramwise_cfg.step_lr_mult)"
                )

    def _weights(self, layers: list[QuantConv2d | QuantLinear]) -> list[Tensor]:
        weights, behaviour = [layer.weight for layer in layers], self.behaviour
        if behaviour.floats:
            return [w.view_as(w) for w in weights]  # a module would register a parameter
        shifted = behaviour.perturb == "quantized" and torch.is_grad_enabled() and self.training
        if shifted and not in_second_pass():
            self._before = [weight.detach().clone() for weight in weights]
        recipe = Recipe(
            [layer.grid for layer in layers],
            [layer.gradient_scale for layer in layers],
            ste=behaviour.ste,
            learn_steps=behaviour.learns_steps,
            # To climb from Q(w), ε must come from ∂L/∂Q(w), which no mask has touched.
            masks=not (shifted and behaviour.ascends),
            bases=self._before if shifted and in_second_pass() else None,
        )
        return list(fake_quantize(weights, [layer.step for layer in layers], recipe))
