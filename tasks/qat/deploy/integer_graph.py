"""The integer network while it is written: what the rules of its operations write into."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from tasks.qat.deploy.integer import FromCodes, ToCodes
from tasks.qat.deploy.shapes import Shapes
from tasks.qat.network import QuantizedNetwork


class IntegerGraph:
    """A graph that grows, and what each tensor of the quantized network has become in it.

    Attributes:
        body: the quantized network.
        shapes: of its tensors.
        device: where it lies.
    """

    def __init__(self, network: QuantizedNetwork, shapes: Shapes) -> None:
        self.body, self.shapes = network.body, shapes
        self.device = network.grids.device
        self._graph, self._modules = fx.Graph(), {}
        self._done: dict[fx.Node, fx.Node] = {}
        self._values: dict[fx.Node, fx.Node] = {}

    def tensor(self, node: fx.Node) -> fx.Node:
        """What a tensor of the quantized network has become, in real values."""
        done = self._done[node]
        if isinstance(self._modules.get(done.target), ToCodes):
            if node not in self._values:
                values = FromCodes(self.module(done).step)
                self._values[node] = self.add(f"{node.target}.values", values, done)
            return self._values[node]
        return done

    def codes(self, quantizer: fx.Node) -> fx.Node:
        """The codes that a quantizer of the quantized network gives."""
        return self._done[quantizer]

    def number(self, value: Any) -> Any:
        """An argument with the numbers that were computed of sizes filled in."""
        return fx.node.map_arg(value, self.shapes.value)

    def module(self, node: fx.Node) -> nn.Module:
        """The module at a node of the integer network."""
        return self._modules[node.target]

    def add(self, name: str, module: nn.Module, *inputs: fx.Node) -> fx.Node:
        """A module behind other nodes of the integer network."""
        unique, count = name, 0
        while unique in self._modules:
            count += 1
            unique = f"{name}_{count}"
        self._modules[unique] = module
        return self._graph.call_module(unique, inputs)

    def call(self, function: Any, *inputs: fx.Node) -> fx.Node:
        """A function of nodes of the integer network."""
        return self._graph.call_function(function, inputs)
