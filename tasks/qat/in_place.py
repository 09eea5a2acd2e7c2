"""Changes in place, made values of their own.

A graph whose nodes are values can be rewritten node by node. But what changes a tensor in place
changes every other name of it: the identity shortcut of a block whose first layer is
``ReLU(inplace=True)`` is behind the ReLU too. So what reads such a name afterwards is let read the
changed value; where a name is only a part or another shape of the tensor, or shares its memory at
times, there is no node to read, and the network is refused.
"""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

from ausam_core.errors import AusamError
from tasks.qat.in_training import InTraining
from tasks.qat.operations import MODULES, SPELLINGS

_OUT_OF_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    F.relu_: F.relu,
    torch.relu_: torch.relu,
}
_PARTS = ("chunk", "split")
_VIEWS = ("reshape", "permute", "transpose", "getitem", *_PARTS, "channel_shuffle")
# These pass on the tensor itself or a copy: contiguous() by the memory format, to() by the type,
# dropout by the mode. What detach() gives has the values and not the gradient.
_MAY_SHARE = (*_VIEWS, "identity", "dropout")
_COPIES = (torch.clone, "clone")


def without_side_effects(body: fx.GraphModule) -> None:
    """Where what is changed in place is read elsewhere too, make the change a value of its own.

    What reads a tensor after it was changed in place must read the changed one.

    Raises:
        AusamError: where it is read afterwards as a part, in another shape, or through what passes
            on the tensor at times and a copy at others.
    """
    order = {node: i for i, node in enumerate(body.graph.nodes)}
    # all of them first: a module that is called twice is made out of place once
    for node in [node for node in body.graph.nodes if _is_in_place(body, node)]:
        source = node.all_input_nodes[0]
        if _is_number(source):
            _make_out_of_place(body, node)
            continue
        names = _names_above(body, source)
        if names[0].op != "placeholder" and all(len(name.users) == 1 for name in names):
            continue  # nobody else can tell; the images are the caller's
        what = _spelling(body, node)
        _make_out_of_place(body, node)
        for name in _same_tensor(body, source):
            for reader in list(name.users):
                if order[name] < order[node] < order[reader]:
                    reader.replace_input_with(name, node)
        _check_others(body, node, source, order, what)


def _check_others(
    body: fx.GraphModule, node: fx.Node, source: fx.Node, order: dict[fx.Node, int], what: str
) -> None:
    """Refuse a reader that would see the change through another name of the memory."""
    changed = _names_above(body, source)
    for name in body.graph.nodes:
        above = _names_above(body, name)
        if above[0] is not changed[0] or node in above or _are_apart(above, changed):
            continue
        for reader in name.users:
            if order[reader] > order[node] and _shares_with(body, reader) is None:
                raise AusamError(
                    f"{what} (at {node.name}) changes {source.name} in place, and "
                    f"{reader.name} reads {name.name} afterwards, which may share its memory; "
                    "take what returns a tensor of its own: inplace=False, mul for mul_, x = x + y "
                    "for x += y"
                )


def _is_in_place(body: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(body.get_submodule(node.target), "inplace", False))
    if node.op == "call_method":
        return node.target.endswith("_") and not node.target.endswith("__")
    return node.op == "call_function" and (
        node.target in _OUT_OF_PLACE or node.kwargs.get("inplace") is True
    )


def _make_out_of_place(body: fx.GraphModule, node: fx.Node) -> None:
    if node.op == "call_module":
        body.get_submodule(node.target).inplace = False
    elif node.op == "call_method":
        node.target = node.target.removesuffix("_")
    elif node.target in _OUT_OF_PLACE:
        node.target = _OUT_OF_PLACE[node.target]
    else:
        node.kwargs = {**node.kwargs, "inplace": False}


def _is_number(node: fx.Node) -> bool:
    """Whether a node is a size, or computed of sizes: another name of it keeps its value."""
    if node.op not in ("call_function", "call_method"):
        return False
    sources = node.all_input_nodes
    return SPELLINGS.get(node.target) == "number" or (
        bool(sources) and all(map(_is_number, sources))
    )


def _operation(body: fx.GraphModule, node: fx.Node) -> str | None:
    if node.op in ("call_function", "call_method"):
        return SPELLINGS.get(node.target)
    if node.op != "call_module":
        return None
    module = body.get_submodule(node.target)
    if isinstance(module, InTraining):
        return "dropout"
    return next((MODULES[kind][0] for kind in type(module).__mro__ if kind in MODULES), None)


def _shares_with(body: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The tensor whose memory a node may be a name of; what is changed in place is a new value."""
    if _operation(body, node) not in _MAY_SHARE or node.target in _COPIES:
        return None
    return None if _is_in_place(body, node) else node.all_input_nodes[0]


def _names_above(body: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """The names that a tensor has on the way to a node: from the first to the node itself."""
    names = [node]
    while (source := _shares_with(body, names[0])) is not None:
        names.insert(0, source)
    return names


def _same_tensor(body: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """All names of just this tensor: itself, and through any number of Identity modules."""

    def is_identity(name: fx.Node) -> bool:
        return name.op == "call_module" and isinstance(body.get_submodule(name.target), nn.Identity)

    while is_identity(node):
        node = node.all_input_nodes[0]
    names = [node]
    for name in names:  # grows
        names += [reader for reader in name.users if is_identity(reader)]
    return names


def _are_apart(names: list[fx.Node], others: list[fx.Node]) -> bool:
    """Whether two ways down from one tensor part at two pieces of a chunk or split."""
    for above, name, other in zip(names, names[1:], others[1:], strict=False):
        if name is not other:
            pair = [n.args[1] for n in (name, other) if n.target is operator.getitem]
            is_parts = SPELLINGS.get(above.target) in _PARTS and len(pair) == 2
            whole = all(isinstance(index, int) and index >= 0 for index in pair)
            return is_parts and whole and pair[0] != pair[1]
    return False


def _spelling(body: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(body.get_submodule(node.target)).__name__
    return getattr(node.target, "__name__", str(node.target))
