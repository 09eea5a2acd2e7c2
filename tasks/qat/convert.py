"""Turn a float network into a quantized one, by its graph.

The graph says what no list of modules can: which layers read the same tensor (they share its
quantizer), which come first and last, and whether a tensor can be negative. Between the layers
everything stays in floating point: the sum of a residual block is quantized when it enters the next
layer, not before, unless the policy rounds sums.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ausam_core.errors import AusamError
from tasks.qat.attached import check_attached
from tasks.qat.calls import Signs, call_of, input_of
from tasks.qat.graph import trace, unused_name
from tasks.qat.grid import Grid
from tasks.qat.holds_bias import hold_bias
from tasks.qat.layers import ActivationQuantizer, Behaviour, QuantConv2d, QuantLinear
from tasks.qat.network import QuantizedNetwork
from tasks.qat.operations import FUNCTIONS
from tasks.qat.policy import LayerRow, Policy, is_depthwise
from tasks.qat.sums import rounded_tensors, sums_of


def convert(
    network: nn.Module, policy: Policy | Mapping[str, Any] | None = None
) -> QuantizedNetwork:
    """A quantized copy of a float network.

    Weight steps are chosen for the weights as they are; activation steps stay 0 until
    :func:`~tasks.qat.calibration.calibrate` has seen data.

    Args:
        network: takes one tensor; returns one, or a tuple, list or dict of them. It is not changed,
            now or later.
        policy: how many bits where, or its settings by name; W2A4 by default.

    Raises:
        AusamError: for a network that cannot be traced; for a layer that cannot be quantized or has
            hooks, and for an operation that has no integer form, by name and with a remedy.
    """
    policy = policy if isinstance(policy, Policy) else Policy.of_config(policy)
    check_attached(network)  # first: what is computed in a pass cannot even be copied
    network = copy.deepcopy(network)
    names = set(network.state_dict())
    return _Conversion(trace(network), policy).run(names)


class _Conversion:
    """Rewrites a graph in place.

    Attributes:
        quantized: the quantizer of a tensor, by the tensor and its grid.
    """

    def __init__(self, body: fx.GraphModule, policy: Policy) -> None:
        self.body, self.policy, self.behaviour = body, policy, Behaviour()
        self.signs = Signs(body)
        self.quantized: dict[tuple[fx.Node, Grid], fx.Node] = {}

    def run(self, names: set[str]) -> QuantizedNetwork:
        body, policy = self.body, self.policy
        _check_modules(body)
        layers = [node for node in body.graph.nodes if self.layer_of(node) is not None]
        if not layers:
            raise AusamError("the network has no convolution and no linear layer to quantize")
        functions = [node for node in body.graph.nodes if self.is_function(node)]
        ends = ends_of(body, layers)
        end_modules = {node.target for node in ends}
        self.quantizers = unused_name(body, "activations")
        body.add_module(self.quantizers, nn.Module())
        if policy.sum_bits is not None:
            for node in sums_of(body):
                for name, tensor in rounded_tensors(body, node):
                    self.round(tensor, name)
        table = []
        for node in layers:
            is_end = node.target in end_modules
            if is_end and policy.first_last == "fp":
                continue
            activation = self.quantize_input(node, node.target, is_end)
            table.append(self.quantize_layer(node, is_end, activation))
        if not table:
            raise AusamError(
                'first_last="fp" leaves this network no layer to quantize; take a number of bits'
            )
        for node in functions:
            self.quantize_argument(node)
        body.graph.lint()
        body.recompile()
        unused = names - set(body.state_dict()) if policy.first_last != "fp" else set()
        return QuantizedNetwork(body, self.behaviour, table, self.holders(table), unused)

    def holders(self, table: list[LayerRow]) -> dict[str, str]:
        """Who holds the whole bias of each layer: the BatchNorm that alone reads it, or itself.

        What is called twice has no one offset, and keeps the bias as trained.
        """
        calls = [node for node in self.body.graph.nodes if node.op == "call_module"]
        times = Counter(node.target for node in calls)
        named, found = {row.name for row in table}, {}
        for node in calls:
            if node.target not in named or times[node.target] > 1:
                continue
            layer = self.body.get_submodule(node.target)
            (reader, *others) = list(node.users) or [None]
            is_module = reader is not None and reader.op == "call_module" and not others
            norm = self.body.get_submodule(reader.target) if is_module else None
            if not isinstance(norm, _BatchNorm):
                found[node.target] = node.target
            elif times[reader.target] == 1 and hold_bias(norm, len(layer.weight)):
                found[node.target] = reader.target
        return found

    def layer_of(self, node: fx.Node) -> nn.Conv2d | nn.Linear | None:
        if node.op != "call_module":
            return None
        module = self.body.get_submodule(node.target)
        return module if isinstance(module, (nn.Conv2d, nn.Linear)) else None

    def is_function(self, node: fx.Node) -> bool:
        call = call_of(self.body, node)
        return call is not None and call.operation in FUNCTIONS

    def quantize_input(self, node: fx.Node, name: str, is_end: bool) -> fx.Node:
        """Let a layer read a quantized tensor.

        Whoever reads a tensor reads the same codes, unless one is an end of the network: those have
        a grid of their own.
        """
        source = input_of(node)
        signed = not self.signs(source)
        grid = self.policy.activation_grid(is_end, signed)
        return self.insert(node, source, name, grid)

    def quantize_argument(self, node: fx.Node) -> None:
        """Let a function of one variable read codes, so that a table can hold its values."""
        source = call_of(self.body, node).arguments["input"]
        grid = Grid(self.policy.function_bits, signed=not self.signs(source))
        self.insert(node, source, node.name, grid)

    def round(self, tensor: fx.Node, name: str) -> None:
        """Let all readers of a tensor, but the output of the network, read a quantized one."""
        if tensor in self.quantized.values():
            return
        grid = Grid(self.policy.sum_bits, signed=not self.signs(tensor))
        quantizer = self.quantizer_of(tensor, name, grid)
        tensor.replace_all_uses_with(
            quantizer, lambda reader: reader is not quantizer and reader.op != "output"
        )
        self.quantized[quantizer, grid] = quantizer  # its codes are codes of that grid already

    def insert(self, reader: fx.Node, source: fx.Node, name: str, grid: Grid) -> fx.Node:
        """Let a reader read the tensor's quantizer, named after its first reader."""
        quantizer = self.quantizer_of(source, name, grid)
        if quantizer is not source:
            reader.replace_input_with(source, quantizer)
        return quantizer

    def quantizer_of(self, source: fx.Node, name: str, grid: Grid) -> fx.Node:
        """A quantizer right after the tensor, or the one that it has."""
        key = source, grid
        if key not in self.quantized:
            holder = self.body.get_submodule(self.quantizers)
            label = unused_name(holder, name.replace(".", "_"))
            target = f"{self.quantizers}.{label}"
            self.body.add_submodule(target, ActivationQuantizer(grid, self.behaviour))
            with self.body.graph.inserting_after(source):
                self.quantized[key] = self.body.graph.call_module(target, (source,))
        return self.quantized[key]

    def quantize_layer(self, node: fx.Node, is_end: bool, activation: fx.Node) -> LayerRow:
        """Replace a layer, unless an earlier call of it has; a row for each call."""
        name, layer = node.target, self.layer_of(node)
        if not isinstance(layer, (QuantConv2d, QuantLinear)):
            grid = self.policy.weight_grid(layer, is_end)
            kind = QuantConv2d if isinstance(layer, nn.Conv2d) else QuantLinear
            layer = kind.from_float(layer, grid, self.policy.granularity == "channel")
            self.body.set_submodule(name, layer)
        input_grid = self.body.get_submodule(activation.target).grid
        is_linear = isinstance(layer, QuantLinear)
        return LayerRow(
            name=name,
            op="linear" if is_linear else "depthwise" if is_depthwise(layer) else "conv",
            shape=list(layer.weight.shape),
            groups=getattr(layer, "groups", 1),
            weight_bits=layer.grid.bits,
            activation_bits=input_grid.bits,
            activation=activation.target,
            signed=input_grid.signed,
        )


def ends_of(body: fx.GraphModule, layers: list[fx.Node]) -> set[fx.Node]:
    """The layers that no other layer precedes, and those that none follows; several heads, say."""
    known, below = set(layers), {}
    for node in body.graph.nodes:
        below[node] = any(source in known or below[source] for source in node.all_input_nodes)
    above: dict[fx.Node, bool] = {}
    for node in reversed(body.graph.nodes):
        above[node] = any(reader in known or above[reader] for reader in node.users)
    return {node for node in layers if not below[node] or not above[node]}


_REMEDIES: dict[type, str] = {
    nn.ConvTranspose2d: "take nearest upsampling and a Conv2d",
    nn.LayerNorm: "take BatchNorm2d, whose statistics are constants",
    nn.GroupNorm: "take BatchNorm2d, whose statistics are constants",
    nn.InstanceNorm2d: "take BatchNorm2d, whose statistics are constants",
    nn.PReLU: "take ReLU, or LeakyReLU with a fixed slope",
    nn.MultiheadAttention: "it multiplies activations with activations; keep it out of the network",
    nn.Conv1d: "take a Conv2d over [N, C, 1, L]",
    nn.Embedding: "keep it out of the network, and quantize what follows",
}


def _check_modules(body: fx.GraphModule) -> None:
    """Refuse what cannot be quantized, and operations without integer form.

    Raises:
        AusamError: names layer or operation, and what to take instead.
    """
    for node in body.graph.nodes:
        module = body.get_submodule(node.target) if node.op == "call_module" else None
        if module is not None:
            _check_layer(node.target, module)
        call_of(body, node)


def _check_layer(name: str, module: nn.Module) -> None:
    kind = type(module).__name__
    if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
        raise AusamError(f"layer {name} ({kind}) has no weights yet; run the network once")
    if isinstance(module, nn.Conv2d):
        if module.padding_mode != "zeros":
            raise AusamError(
                f"layer {name} pads with {module.padding_mode}; only zero padding stays exact "
                'in integers: set padding_mode="zeros"'
            )
    elif isinstance(module, _BatchNorm):
        if module.running_mean is None or not module.track_running_stats:
            raise AusamError(
                f"layer {name} ({kind}) keeps no running statistics, so that in evaluation too its "
                "output depends on the batch; set track_running_stats=True"
            )
    elif list(module.parameters()) and not isinstance(module, nn.Linear):
        remedy = next(
            (text for k, text in _REMEDIES.items() if isinstance(module, k)),
            "Conv2d, Linear and BatchNorm are supported",
        )
        raise AusamError(
            f"layer {name or kind} ({kind}) has weights that cannot be quantized; {remedy}"
        )
