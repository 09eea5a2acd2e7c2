"""Sums of two tensors, as the shortcuts of residual blocks end in, and where they are rounded.

Left alone, such a sum is a real number until a layer reads it. An engine for integers adds codes:
there both tensors have a step of their own, and so has the result, behind the ReLU that it goes
through; whatever reads one of the three reads its codes.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from tasks.qat.calls import Call, call_of

_SUMS = ("add", "sub")
_CLIPS = ("relu", "relu6", "hardtanh", "clamp")
_ARITHMETIC = (*_SUMS, "mul", "div", "neg", "getitem")


def sums_of(body: fx.GraphModule) -> list[fx.Node]:
    """The nodes that add two tensors, or subtract one from another, in the order of the graph."""
    numbers: set[fx.Node] = set()
    found = []
    for node in body.graph.nodes:
        call = call_of(body, node)
        if call is None:
            continue
        reads = node.all_input_nodes
        if call.operation == "number" or (
            call.operation in _ARITHMETIC and reads and numbers.issuperset(reads)
        ):
            numbers.add(node)  # a size, or computed of sizes
        elif call.operation in _SUMS and all(
            isinstance(value, fx.Node) and value not in numbers for value in _operands(call)
        ):
            found.append(node)
    return found


def rounded_tensors(body: fx.GraphModule, node: fx.Node) -> Iterator[tuple[str, fx.Node]]:
    """The tensors that are rounded for a sum, each with its name: what it reads, what it gives.

    The graph may change between two of them. What nothing but the output of the network reads is
    left out.
    """
    for name, place in (("left", "input"), ("right", "other")):
        yield f"{node.name}_{name}", call_of(body, node).arguments[place]
    result, readers = node, list(node.users)
    if len(readers) == 1:
        call = call_of(body, readers[0])
        if call is not None and call.operation in _CLIPS:
            result = readers[0]
    if any(reader.op != "output" for reader in result.users):
        yield f"{node.name}_sum", result


def _operands(call: Call) -> tuple[object, object]:
    return call.arguments["input"], call.arguments["other"]
