"""The graph of a float network, as quantization needs it: no side effects, no frozen mode.

``torch.fx`` runs the forward once and writes down what it sees. ``self.training`` it sees as a
constant, so the network is traced in both modes: a call that differs between the two, as
``F.dropout(x, p, self.training)`` does, becomes a small module that follows the mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from ausam_core.errors import AusamError
from tasks.qat.in_place import without_side_effects
from tasks.qat.in_training import InTraining
from tasks.qat.tracer import Tracer, clean

_INPUTS = ("images", "pixels")
"""What the input of a file is called."""


def trace(network: nn.Module) -> fx.GraphModule:
    """The graph of a network, with its own modules.

    Raises:
        AusamError: where the forward depends on values, which a graph cannot hold; where it takes
            more than one tensor, or returns something that is neither a tensor nor a tuple, list or
            dict of tensors; where it reads parameters outside a layer; where it changes a tensor in
            place that is read afterwards by another name, see :mod:`tasks.qat.in_place`.
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
    without_side_effects(body)
    body.graph.lint()
    body.recompile()
    return body


def output_nodes(body: fx.GraphModule) -> dict[str, fx.Node]:
    """What the graph returns, by name: ``logits`` alone, ``output_0`` …, or the keys of a dict."""
    (returned,) = next(n for n in reversed(body.graph.nodes) if n.op == "output").args
    if isinstance(returned, fx.Node):
        return {"logits": returned}
    if isinstance(returned, dict):
        return {str(key): node for key, node in returned.items()}
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
    ours, theirs = _calls(body), _calls(in_training)
    if len(ours) != len(theirs) or not all(map(_is_the_same_call, ours, theirs)):
        warnings.warn(
            f"{name} computes something else in training than in evaluation (auxiliary outputs, "
            "say); the quantized network trains what evaluation computes, without dropout by "
            "function calls",
            stacklevel=4,
        )
        return
    # all are compared before the first is replaced, as others read it
    differing = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.arguments != b.arguments]
    for ours, theirs in differing:
        _replace_by_a_module(body, ours.node, theirs.node)
    for module in body.modules():
        if isinstance(module, InTraining):
            module.train(body.training)


@dataclass(frozen=True)
class _Call:
    """A node, the places of the tensors that it reads, and its arguments with these places."""

    node: fx.Node
    tensors: list[int]
    arguments: tuple[tuple, dict]


def _calls(body: fx.GraphModule) -> list[_Call]:
    places = {node: i for i, node in enumerate(body.graph.nodes)}

    def place(value: Any) -> Any:
        return f"node {places[value]}" if isinstance(value, fx.Node) else value

    return [
        _Call(
            node,
            [places[source] for source in node.all_input_nodes],
            (fx.node.map_aggregate(node.args, place), fx.node.map_aggregate(node.kwargs, place)),
        )
        for node in places
    ]


def _is_the_same_call(ours: _Call, theirs: _Call) -> bool:
    """Whether two nodes call the same thing with the same tensors; constants of a function may
    differ."""
    same = (ours.node.op, ours.node.target) == (theirs.node.op, theirs.node.target)
    if ours.node.op == "call_function":
        return same and ours.tensors == theirs.tensors
    return same and ours.arguments == theirs.arguments


def _replace_by_a_module(body: fx.GraphModule, node: fx.Node, other: fx.Node) -> None:
    """Let a function of one tensor follow the mode; ``other`` is its call in training."""
    module = InTraining(node.target, _behind_the_tensor(other), _behind_the_tensor(node))
    if not (_has_one_tensor(node) and _has_one_tensor(other) and module.is_off_in_evaluation()):
        raise AusamError(
            f"{node.target.__name__} (at {node.name}) depends on the mode of the network and "
            "has no integer form; give the network the module of that name"
        )
    label = unused_name(body, f"{node.name}_in_training")
    body.add_submodule(label, module)
    with body.graph.inserting_before(node):
        node.replace_all_uses_with(body.graph.call_module(label, tuple(node.all_input_nodes)))
    body.graph.erase_node(node)


def _has_one_tensor(node: fx.Node) -> bool:
    """Whether the first argument is a node, and no other is."""
    found: list[fx.Node] = []
    fx.node.map_arg(_behind_the_tensor(node), found.append)
    first = node.args[0] if node.args else node.kwargs.get("input")
    return isinstance(first, fx.Node) and not found


def _behind_the_tensor(node: fx.Node) -> tuple[tuple, dict]:
    return node.args[1:], {key: value for key, value in node.kwargs.items() if key != "input"}


def _check_outputs(body: fx.GraphModule, name: str) -> None:
    (returned,) = next(n for n in reversed(body.graph.nodes) if n.op == "output").args
    values = returned.values() if isinstance(returned, dict) else returned
    values = [returned] if isinstance(returned, fx.Node) else values
    flat = isinstance(returned, (fx.Node, tuple, list, dict))
    if not flat or not values or not all(isinstance(value, fx.Node) for value in values):
        raise AusamError(
            f"{name} must return a tensor, or a tuple, list or dict of tensors, to be quantized"
        )
    names = [str(key) for key in returned] if isinstance(returned, dict) else []
    for key in names:
        if key in _INPUTS or names.count(key) > 1:
            taken = "its input has" if key in _INPUTS else "another output has"
            raise AusamError(
                f"{name} returns {key!r}, a name that {taken} in the file; give it one of its own"
            )


def unused_name(body: nn.Module, wanted: str) -> str:
    """A name that no attribute of a module has yet: the wanted one, or with a number behind it."""
    name, count = wanted, 0
    while hasattr(body, name):
        count += 1
        name = f"{wanted}_{count}"
    return name
