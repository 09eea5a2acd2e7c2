"""Turn a float network into a quantized one, by its graph.

The graph, found by ``torch.fx``, says what no list of modules can: which layers read the same
tensor (they share its quantizer), which is first and last, and whether a tensor can be negative.
Between the layers everything stays in floating point: the sum of a residual block is quantized when
it enters the next layer, not before.
"""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

from ausam_core.errors import AusamError
from tasks.qat.layers import ActivationQuantizer, Behaviour, QuantConv2d, QuantLinear
from tasks.qat.network import QuantizedNetwork
from tasks.qat.policy import LayerRow, Policy, is_depthwise

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_KEEPS_SIGN = (
    nn.Identity,
    nn.Dropout,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.Flatten,
)
_KEEPS_SIGN_F = {
    torch.flatten,
    F.adaptive_avg_pool2d,
    F.avg_pool2d,
    F.max_pool2d,
    F.dropout,
    torch.mean,
}
_KEEPS_SIGN_M = {"flatten", "mean", "view", "reshape", "contiguous", "to"}


def convert(network: nn.Module, policy: Policy | None = None) -> QuantizedNetwork:
    """Quantize a float network. Its parameters are taken over, not copied.

    Weight steps are chosen for the weights as they are; activation steps stay 0 until
    :func:`~tasks.qat.calibration.calibrate` has seen data.

    Args:
        network: takes one tensor ``[N, C, H, W]`` and returns one.
        policy: how many bits where; W2A4 by default.

    Raises:
        AusamError: for a network that cannot be traced and for a layer that cannot be quantized, by
            name.
    """
    policy = policy or Policy()
    body = trace(network)
    nodes = [node for node in body.graph.nodes if _is_layer(body, node)]
    check_layers(body)
    if not nodes:
        raise AusamError("the network has no convolution and no linear layer to quantize")
    behaviour = Behaviour()
    body.add_module("activations", nn.Module())
    quantized_inputs: dict[tuple[fx.Node, bool], fx.Node] = {}
    table = []
    for node in nodes:
        is_end = node in (nodes[0], nodes[-1])
        if is_end and policy.first_last == "fp":
            continue
        layer = body.get_submodule(node.target)
        # Whoever reads a tensor reads the same codes, unless one is an end of the network: those
        # have a grid of their own.
        source = node.args[0]
        key = (source, is_end and policy.first_last != "same")
        if key not in quantized_inputs:
            grid = policy.activation_grid(is_end, signed=not is_never_negative(body, source))
            quantized_inputs[key] = _insert_quantizer(body, node, grid, behaviour)
        quantized = quantized_inputs[key]
        node.replace_input_with(source, quantized)
        table.append(_quantize_layer(body, node.target, layer, policy, is_end, quantized.target))
    body.graph.lint()
    body.recompile()
    return QuantizedNetwork(body, behaviour, table)


def trace(network: nn.Module) -> fx.GraphModule:
    """The graph of a network, with its own modules.

    Raises:
        AusamError: where the forward depends on values, which a graph cannot hold.
    """
    try:
        body = fx.symbolic_trace(network)
    except Exception as error:  # fx raises many kinds
        raise AusamError(
            f"the graph of {type(network).__name__} cannot be traced ({error}); its forward must "
            "not branch on values or shapes"
        ) from error
    if sum(node.op == "placeholder" for node in body.graph.nodes) != 1:
        raise AusamError(f"{type(network).__name__} must take one tensor to be quantized")
    return body


def check_layers(body: fx.GraphModule) -> None:
    """Refuse what has weights and cannot be quantized.

    Raises:
        AusamError: names the layer.
    """
    for name, module in body.named_modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, nn.Conv2d):
            if module.padding_mode != "zeros":
                raise AusamError(
                    f"layer {name} pads with {module.padding_mode}; only zero padding stays exact "
                    "in integers"
                )
        elif own and not isinstance(module, (nn.Linear, *_NORMS)):
            raise AusamError(
                f"layer {name or type(module).__name__} ({type(module).__name__}) has weights that "
                "cannot be quantized; Conv2d, Linear and BatchNorm are supported"
            )


def is_never_negative(body: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a tensor comes from a ReLU, if need be through pooling and the like."""
    if node.op == "call_module":
        module = body.get_submodule(node.target)
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            return True
        keeps = isinstance(module, _KEEPS_SIGN)
    elif node.op == "call_function":
        if node.target in (F.relu, torch.relu, F.relu6):
            return True
        if node.target in (operator.add, torch.add):
            tensors = [a for a in node.args if isinstance(a, fx.Node)]
            return len(tensors) == 2 and all(is_never_negative(body, a) for a in tensors)
        keeps = node.target in _KEEPS_SIGN_F
    elif node.op == "call_method":
        if node.target in ("relu", "relu_"):
            return True
        keeps = node.target in _KEEPS_SIGN_M
    else:
        return False
    return keeps and is_never_negative(body, node.args[0])


def _is_layer(body: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return False
    return isinstance(body.get_submodule(node.target), (nn.Conv2d, nn.Linear))


def _insert_quantizer(
    body: fx.GraphModule, consumer: fx.Node, grid: object, behaviour: Behaviour
) -> fx.Node:
    """A quantizer right after the tensor that ``consumer`` reads, named after ``consumer``."""
    name = f"activations.{consumer.target.replace('.', '_')}"
    body.add_submodule(name, ActivationQuantizer(grid, behaviour))
    source = consumer.args[0]
    with body.graph.inserting_after(source):
        return body.graph.call_module(name, (source,))


def _quantize_layer(
    body: fx.GraphModule,
    name: str,
    layer: nn.Conv2d | nn.Linear,
    policy: Policy,
    is_end: bool,
    activation: str,
) -> LayerRow:
    grid = policy.weight_grid(layer, is_end)
    kind = QuantConv2d if isinstance(layer, nn.Conv2d) else QuantLinear
    body.set_submodule(name, kind.from_float(layer, grid, policy.granularity == "channel"))
    input_grid = body.get_submodule(activation).grid
    op = "linear" if kind is QuantLinear else "depthwise" if is_depthwise(layer) else "conv"
    return LayerRow(
        name=name,
        op=op,
        shape=list(layer.weight.shape),
        groups=getattr(layer, "groups", 1),
        weight_bits=grid.bits,
        activation_bits=input_grid.bits,
        activation=activation,
        signed=input_grid.signed,
    )
