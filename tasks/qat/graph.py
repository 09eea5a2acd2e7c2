"""The graph of a float network, as quantization needs it: no side effects, no frozen mode.

``torch.fx`` runs the forward once and writes down what it sees. ``self.training`` it sees as a
constant, so the network is traced in both modes: a call that differs between the two, as
``F.dropout(x, p, self.training)`` does, becomes a small module that follows the mode.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from ausam_core.errors import AusamError
from tasks.qat.tracer import Tracer, clean

_OUT_OF_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    F.relu_: F.relu,
    torch.relu_: torch.relu,
}


class InTraining(nn.Module):
    """A function with one tensor, whose other arguments depend on the mode of the network.

    Args:
        function: what is called.
        training, evaluation: its arguments behind the tensor in either mode, positional and by
            name.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        training: tuple[tuple, dict],
        evaluation: tuple[tuple, dict],
    ) -> None:
        super().__init__()
        self.function, self.arguments = function, {True: training, False: evaluation}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        args, kwargs = self.arguments[self.training]
        return self.function(inputs, *args, **kwargs)

    def is_off_in_evaluation(self) -> bool:
        """Whether evaluation passes everything on as it is, tried with numbers."""
        args, kwargs = self.arguments[False]
        sample = torch.linspace(-3, 3, 128).view(2, 4, 4, 4)
        return torch.equal(self.function(sample.clone(), *args, **kwargs), sample)


def trace(network: nn.Module) -> fx.GraphModule:
    """The graph of a network, with its own modules.

    Raises:
        AusamError: where the forward depends on values, which a graph cannot hold; where it takes
            more than one tensor, or returns something that is neither a tensor nor a tuple, list or
            dict of tensors; where it reads parameters outside a layer.
    """
    name = type(network).__name__
    first = Tracer()
    in_training = _trace_in_mode(network, True, first)
    tracer = Tracer(only=first.plain)
    body = _trace_in_mode(network, False, tracer)
    tracer.make_plain(body)
    if sum(node.op == "placeholder" for node in body.graph.nodes) != 1:
        raise AusamError(f"{name} must take one tensor to be quantized")
    _follow_the_mode(body, in_training, name)
    _check_outputs(body, name)
    for node in body.graph.nodes:
        if node.op == "get_attr":
            raise AusamError(
                f"{name} uses {node.target} outside a layer, which has no integer form; let a "
                "Conv2d, Linear or BatchNorm hold it"
            )
    _without_side_effects(body)
    body.graph.lint()
    body.recompile()
    return body


def output_nodes(body: fx.GraphModule) -> dict[str, fx.Node]:
    """What the graph returns, by name: ``logits`` alone, ``output_0`` …, or the keys of a dict."""
    (returned,) = next(n for n in reversed(body.graph.nodes) if n.op == "output").args
    if isinstance(returned, fx.Node):
        return {"logits": returned}
    if isinstance(returned, dict):
        return dict(returned)
    return {f"output_{i}": node for i, node in enumerate(returned)}


@contextmanager
def in_mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Put every module into a mode, and back into its own."""
    modes = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _trace_in_mode(network: nn.Module, training: bool, tracer: Tracer) -> fx.GraphModule:
    name = type(network).__name__
    if type(network).__module__.startswith("torch.nn.modules") and not list(network.children()):
        network = nn.Sequential(network)  # fx does not look into a single layer
    try:
        with in_mode(network, training):
            body = fx.GraphModule(network, tracer.trace(network), name)
    except Exception as error:  # fx raises many kinds
        place, remedy = _place(tracer)
        raise AusamError(
            f"the graph of {name} cannot be traced ({error}{place}); its forward must not branch "
            f"on values or shapes{remedy}"
        ) from error
    clean(body)
    return body


def _place(tracer: Tracer) -> tuple[str, str]:
    """Where tracing failed, and what to do about it there, as ends of a sentence."""
    if tracer.where is None:
        return "", ""
    name, module = tracer.where
    place = f", in {name}, a {type(module).__name__}"
    if isinstance(module, nn.Conv2d):
        return place, (
            "; a convolution that pads by the size of its input has siblings with a padding of its "
            "own: nn.Conv2d with padding=…, a network of timm with pad_type=''"
        )
    return place, ""


def _follow_the_mode(body: fx.GraphModule, in_training: fx.GraphModule, name: str) -> None:
    """Replace the calls of ``body``, traced in evaluation, that are others in training."""
    ours, theirs = list(body.graph.nodes), list(in_training.graph.nodes)
    alike = len(ours) == len(theirs) and all(map(_is_the_same_call, ours, theirs))
    if not alike:
        warnings.warn(
            f"{name} computes something else in training than in evaluation (auxiliary outputs, "
            "say); the quantized network trains what evaluation computes, without dropout by "
            "function calls",
            stacklevel=4,
        )
        return
    for i, (node, other) in enumerate(zip(ours, theirs, strict=True)):
        if node.op != "call_function" or _constants(node) == _constants(other):
            continue
        module = InTraining(node.target, _constants(other), _constants(node))
        if len(node.all_input_nodes) != 1 or not module.is_off_in_evaluation():
            raise AusamError(
                f"{node.target.__name__} (at {node.name}) depends on the mode of the network and "
                "has no integer form; give the network the module of that name"
            )
        label = unused_name(body, f"{node.name}_in_training_{i}")
        body.add_submodule(label, module)
        source = node.all_input_nodes[0]
        with body.graph.inserting_before(node):
            node.replace_all_uses_with(body.graph.call_module(label, (source,)))
        body.graph.erase_node(node)
    for module in body.modules():
        if isinstance(module, InTraining):
            module.train(body.training)


def _is_the_same_call(node: fx.Node, other: fx.Node) -> bool:
    """Whether two nodes call the same thing; arguments of a function may differ."""
    same = node.op == other.op and node.target == other.target
    if node.op == "call_function":
        return same
    return same and str((node.args, node.kwargs)) == str((other.args, other.kwargs))


def _constants(node: fx.Node) -> tuple[tuple, dict]:
    """The arguments of a call behind its first, a tensor; nodes by their names."""

    def plain(value: Any) -> Any:
        return f"node {value.name}" if isinstance(value, fx.Node) else value

    rest = {key: value for key, value in node.kwargs.items() if key != "input"}
    return fx.node.map_aggregate(node.args[1:], plain), fx.node.map_aggregate(rest, plain)


def _check_outputs(body: fx.GraphModule, name: str) -> None:
    (returned,) = next(n for n in reversed(body.graph.nodes) if n.op == "output").args
    values = returned.values() if isinstance(returned, dict) else returned
    values = [returned] if isinstance(returned, fx.Node) else values
    flat = isinstance(returned, (fx.Node, tuple, list, dict))
    if not flat or not values or not all(isinstance(value, fx.Node) for value in values):
        raise AusamError(
            f"{name} must return a tensor, or a tuple, list or dict of tensors, to be quantized"
        )


def _without_side_effects(body: fx.GraphModule) -> None:
    """Where what is changed in place is read elsewhere too, make the change a value of its own.

    A graph whose nodes are values can be rewritten node by node; what reads a tensor after it was
    changed in place must read the changed one.
    """
    order = {node: i for i, node in enumerate(body.graph.nodes)}
    for node in list(body.graph.nodes):
        if not _is_in_place(body, node) or len(node.all_input_nodes[0].users) == 1:
            continue
        source = node.all_input_nodes[0]
        if node.op == "call_module":
            body.get_submodule(node.target).inplace = False
        elif node.op == "call_method":
            node.target = node.target.removesuffix("_")
        elif node.target in _OUT_OF_PLACE:
            node.target = _OUT_OF_PLACE[node.target]
        else:
            node.kwargs = {**node.kwargs, "inplace": False}
        for reader in list(source.users):
            if order[reader] > order[node]:
                reader.replace_input_with(source, node)


def _is_in_place(body: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(body.get_submodule(node.target), "inplace", False))
    if node.op == "call_method":
        return node.target.endswith("_") and not node.target.endswith("__")
    return node.op == "call_function" and (
        node.target in _OUT_OF_PLACE or node.kwargs.get("inplace") is True
    )


def unused_name(body: nn.Module, wanted: str) -> str:
    """A name that no attribute of a module has yet: the wanted one, or with a number behind it."""
    name, count = wanted, 0
    while hasattr(body, name):
        count += 1
        name = f"{wanted}_{count}"
    return name
