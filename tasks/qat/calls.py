"""What a node of a graph computes: an operation, with its arguments by name.

Arguments are matched by the signature of the operation, never by their number, so none is dropped;
a call that does not fit the signature is refused by name.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ausam_core.errors import AusamError
from tasks.qat.in_training import InTraining
from tasks.qat.operations import FUNCTIONS, MODULES, OPERATIONS, SPELLINGS

Value = Any  # a node, a number, or a tuple of them
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Call:
    """An operation and its arguments by name; defaults are filled in."""

    operation: str
    arguments: dict[str, Value]


class Signs:
    """Whether the tensors of a graph can be negative; each is looked at once."""

    def __init__(self, body: fx.GraphModule) -> None:
        self._body = body
        self._known: dict[fx.Node, bool] = {}

    def __call__(self, value: Value) -> bool:
        """Whether a value is never negative, as far as the graph tells."""
        if isinstance(value, (int, float)):
            return value >= 0
        if not isinstance(value, fx.Node):
            return False
        if value not in self._known:
            self._known[value] = self._look(value)
        return self._known[value]

    def _look(self, node: fx.Node) -> bool:
        call = call_of(self._body, node)
        if call is None or call.operation == "layer":
            return False
        function = OPERATIONS[call.operation]
        parameters = inspect.signature(function).parameters
        named = {n: v for n, v in call.arguments.items() if parameters[n].kind not in _VARIABLE}
        return function(self, **named)


def call_of(body: fx.GraphModule, node: fx.Node) -> Call | None:
    """A node as an operation; ``layer`` for what has weights; None for input and output.

    Raises:
        AusamError: for an operation without integer form, and for arguments that its signature does
            not have.
    """
    if node.op in ("placeholder", "output"):
        return None
    if node.op != "call_module":
        name = SPELLINGS.get(node.target)
        if name is None:
            raise AusamError(no_integer_form(node.target, node.name))
        return Call(name, _bind(name, node.args, node.kwargs, node.name))
    module = body.get_submodule(node.target)
    if isinstance(module, (nn.Conv2d, nn.Linear, _BatchNorm)):
        return Call("layer", {"input": input_of(node)})
    if isinstance(module, InTraining):
        return Call("identity", {"input": input_of(node)})
    kind = next((k for k in type(module).__mro__ if k in MODULES), None)
    if kind is None:
        # a quantizer passes on the sign, as far as it is asked
        if hasattr(module, "grid"):
            return Call("identity", {"input": input_of(node)})
        raise AusamError(no_integer_form(type(module), node.target))
    name, attributes = MODULES[kind]
    settings = {a: getattr(module, a) for a in attributes if hasattr(module, a)}
    return Call(name, _bind(name, (input_of(node),), settings, node.target))


def input_of(node: fx.Node) -> fx.Node:
    """The tensor that a module is called with, by position or by any name."""
    return node.args[0] if node.args else next(iter(node.kwargs.values()))


def no_integer_form(target: Any, where: str) -> str:
    """The sentence about an operation: what, where, and what to take instead."""
    name = getattr(target, "__name__", str(target))
    remedy = next((text for key, text in _REMEDIES.items() if key in name.lower()), _REPLACE)
    return f"the operation {name} (at {where}) has no integer form; {remedy}"


_REPLACE = (
    "take ReLU, pooling, sums, products, concatenation, slices, or one of the functions "
    + ", ".join(FUNCTIONS)
)
_REMEDIES = {
    "softmax": "leave it to the loss, and apply it to the logits of the file where it is needed",
    "attention": "it multiplies activations with activations; keep that part in floating point",
    "matmul": "it multiplies activations with activations; keep that part in floating point",
    "bmm": "it multiplies activations with activations; keep that part in floating point",
    "layer_norm": "take BatchNorm2d, whose statistics are constants",
    "group_norm": "take BatchNorm2d, whose statistics are constants",
    "norm": "take BatchNorm2d, whose statistics are constants",
    "conv_transpose": "take nearest upsampling and a Conv2d",
    "conv2d": "let an nn.Conv2d hold its weight",
    "linear": "let an nn.Linear hold its weight",
}


def _bind(name: str, args: tuple, kwargs: dict[str, Any], where: str) -> dict[str, Value]:
    signature = inspect.signature(OPERATIONS[name])
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError as error:
        raise AusamError(
            f"the call of {name} at {where} has no integer form ({error}); it is known as "
            f"{name}{_readable(signature)}"
        ) from error
    bound.apply_defaults()
    values = dict(bound.arguments)
    del values["never_negative"]
    return values


def _readable(signature: inspect.Signature) -> str:
    parameters = list(signature.parameters.values())[1:]
    return str(signature.replace(parameters=parameters))
