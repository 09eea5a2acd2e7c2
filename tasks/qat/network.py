"""A network whose weights are all quantized once per pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core import in_second_pass
from ausam_core.errors import AusamError
from tasks.qat.behind_sums import whole_bias
from tasks.qat.bits import bits_of, difference
from tasks.qat.fake_quantize import Recipe, fake_quantize
from tasks.qat.grid import Grid
from tasks.qat.holds_bias import HoldsBias
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
        table: a row for each call of a quantized layer.
        holders: for each layer whose bias is a whole one in evaluation, the module that holds it:
            the layer, or the BatchNorm behind it.
        unused: names in the float network's state that the graph does not use.

    Attributes:
        grids: the bits of each call of a layer and of what is rounded between them, see
            :func:`tasks.qat.bits.bits_of`; they go with the state, so that one of others is told.
        input_shape: of one input, ``(C, H, W)``, once the network has been shown one.
    """

    grids: Tensor

    def __init__(
        self,
        body: torch.fx.GraphModule,
        behaviour: Behaviour,
        table: list[LayerRow],
        holders: Mapping[str, str],
        unused: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.holders = dict(holders)
        self.body, self.behaviour, self.table = body, behaviour, table
        self.unused = frozenset(unused)
        self.input_shape: tuple[int, ...] | None = None
        self.register_buffer("grids", bits_of(table, self._between()))
        # not in the state: the latent weights as they were in the ascent pass
        self._before: list[Tensor] = []
        guard_steps(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy is guarded too."""
        super().__setstate__(state)
        guard_steps(self)

    def forward(self, inputs: Tensor) -> Any:
        """What the float network returns, computed with quantized weights and activations."""
        with self.quantized_weights():
            return self.body(inputs)

    @contextmanager
    def quantized_weights(self) -> Iterator[None]:
        """Give every layer its quantized weight for the enclosed forward pass.

        In evaluation also its whole bias, see :mod:`tasks.qat.behind_sums`.
        """
        layers = [layer for _, layer in self.layers()]
        for layer, weight in zip(layers, self._weights(layers), strict=True):
            layer.quantized = weight
        biases = {} if self.training or self.behaviour.floats else self._whole_biases()
        for holder, bias in biases.items():
            holder.whole_bias = bias
        try:
            yield
        finally:
            for layer in layers:
                layer.quantized = None
            for holder in biases:
                holder.whole_bias = None

    def layers(self) -> list[tuple[str, QuantConv2d | QuantLinear]]:
        """Names (as in the float network) and quantized layers, in the order of the graph."""
        names = dict.fromkeys(row.name for row in self.table)
        return [(name, self.body.get_submodule(name)) for name in names]

    def float_layers(self) -> list[str]:
        """Names of layers in floating point; a network that has some has no integer form."""
        kinds = (nn.Conv2d, nn.Linear)
        quantized = (QuantConv2d, QuantLinear)
        return [
            name
            for name, module in self.body.named_modules()
            if isinstance(module, kinds) and not isinstance(module, quantized)
        ]

    def activations(self) -> dict[str, ActivationQuantizer]:
        """The activation quantizers by name, in the order of the graph."""
        return {
            name: module
            for name, module in self.body.named_modules()
            if isinstance(module, ActivationQuantizer)
        }

    def _between(self) -> dict[str, Grid]:
        """The grids of what no layer reads, by the name of the quantizer."""
        read = {row.activation for row in self.table}
        return {name: q.grid for name, q in self.activations().items() if name not in read}

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

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Refuse the state of other bits, whose steps would mislead.

        Raises:
            AusamError: says which bits, and how to go on from that state all the same.
        """
        between, name = self._between(), f"{prefix}grids"
        steps = {f"{prefix}body.{quantizer}.step" for quantizer in between}
        found = state_dict.get(name, self.grids[: len(self.table)]).to(self.grids)
        if len(found) == len(self.table) and steps <= state_dict.keys():
            found = torch.cat([found, self.grids[len(found) :]])  # older states hold less
        if not torch.equal(found, self.grids):
            what = difference(self.table, between, found, self.grids)
            raise AusamError(
                f"the state is of another network: {what}; make the network with that policy, or "
                "take the weights alone, with tasks.qat.load_weights(network, state), and calibrate"
            )
        state_dict[name] = found
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _whole_biases(self) -> dict[HoldsBias, Tensor]:
        rows, found = {row.name: row for row in self.table}, {}
        for name, held_by in self.holders.items():
            layer, holder = self.body.get_submodule(name), self.body.get_submodule(held_by)
            if isinstance(holder, HoldsBias) and holder.bias is not None:
                quantizer = self.body.get_submodule(rows[name].activation)
                found[holder] = whole_bias(layer, quantizer, holder)
        return found

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
