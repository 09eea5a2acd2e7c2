"""What a node of a graph computes, with its arguments by name.

One operation has many spellings: ``torch.add(a, b, alpha=2)``, ``a.add(b, alpha=2)``, ``a + b``;
``nn.ReLU6()``, ``F.relu6``. :func:`call_of` reads them all as one :class:`Call`. Arguments are
matched by the signature of the operation, never by their number, so none is dropped; a call that
does not fit the signature is refused by name.

Each operation is a function below. Its parameters are those of PyTorch, and its body says whether
the result can be negative: the sign decides about the integers that a tensor is rounded to.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ausam_core.errors import AusamError
from tasks.qat.graph import InTraining

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
        function = _OPERATIONS[call.operation]
        parameters = inspect.signature(function).parameters
        named = {n: v for n, v in call.arguments.items() if parameters[n].kind not in _VARIABLE}
        return function(self, **named)


_OPERATIONS: dict[str, Callable[..., bool]] = {}
_SPELLINGS: dict[Any, str] = {}
_MODULES: dict[type, tuple[str, tuple[str, ...]]] = {}


def _operation(*spellings: Any, **modules: tuple[str, ...]) -> Callable[[Callable], Callable]:
    """Register the function as an operation: functions and methods that mean it, and modules of
    ``torch.nn`` with the attributes that are its arguments."""

    def register(function: Callable[..., bool]) -> Callable[..., bool]:
        name = function.__name__.rstrip("_")
        _OPERATIONS[name] = function
        _SPELLINGS.update(dict.fromkeys(spellings, name))
        _MODULES.update({getattr(nn, kind): (name, names) for kind, names in modules.items()})
        return function

    return register


@_operation(F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_", ReLU=())
def relu(never_negative, input, inplace=False):
    return True


@_operation(F.relu6, ReLU6=())
def relu6(never_negative, input, inplace=False):
    return True


@_operation(F.hardtanh, Hardtanh=("min_val", "max_val"))
def hardtanh(never_negative, input, min_val=-1.0, max_val=1.0, inplace=False):
    return min_val >= 0


@_operation(torch.clamp, torch.clip, "clamp", "clamp_", "clip", "clip_")
def clamp(never_negative, input, min=None, max=None):
    from_below = min is not None and never_negative(min)
    return from_below or (never_negative(input) and (max is None or never_negative(max)))


@_operation(torch.add, operator.add, operator.iadd, "add", "add_")
def add(never_negative, input, other, *, alpha=1):
    return never_negative(input) and never_negative(other) and alpha >= 0


@_operation(torch.sub, torch.subtract, operator.sub, operator.isub, "sub", "sub_")
def sub(never_negative, input, other, *, alpha=1):
    return False


@_operation(torch.mul, torch.multiply, operator.mul, operator.imul, "mul", "mul_")
def mul(never_negative, input, other):
    return never_negative(input) and never_negative(other)


@_operation(torch.div, operator.truediv, operator.itruediv, torch.true_divide, "div", "div_")
def div(never_negative, input, other, *, rounding_mode=None):
    return never_negative(input) and never_negative(other)


@_operation(torch.neg, operator.neg, "neg")
def neg(never_negative, input):
    return False


@_operation(torch.cat, torch.concat, torch.concatenate)
def cat(never_negative, tensors, dim=0):
    return all(never_negative(tensor) for tensor in tensors)


@_operation(torch.mean, "mean")
def mean(never_negative, input, dim=None, keepdim=False):
    return never_negative(input)


_AVERAGE = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")


@_operation(F.avg_pool2d, AvgPool2d=(*_AVERAGE, "divisor_override"))
def avg_pool2d(
    never_negative,
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    return never_negative(input)


@_operation(F.adaptive_avg_pool2d, AdaptiveAvgPool2d=("output_size",))
def adaptive_avg_pool2d(never_negative, input, output_size):
    return never_negative(input)


_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")


@_operation(F.max_pool2d, torch.max_pool2d, MaxPool2d=_MAX)
def max_pool2d(
    never_negative,
    input,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
):
    return never_negative(input)


@_operation(F.adaptive_max_pool2d, AdaptiveMaxPool2d=("output_size", "return_indices"))
def adaptive_max_pool2d(never_negative, input, output_size, return_indices=False):
    return never_negative(input)


@_operation(F.pad, ZeroPad2d=("padding",), ConstantPad2d=("padding", "value"))
def pad(never_negative, input, pad=None, mode="constant", value=None, padding=None):
    return never_negative(input) and mode == "constant" and never_negative(value or 0.0)


_SCALE = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")


@_operation(F.interpolate, Upsample=_SCALE, UpsamplingNearest2d=("size", "scale_factor", "mode"))
def interpolate(
    never_negative,
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    return never_negative(input)


# Where values only move, the shape of the result says all; it is found by running the graph.
_RESHAPES = (torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.unflatten)
_RESHAPE_METHODS = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "view_as")


@_operation(*_RESHAPES, *_RESHAPE_METHODS, "reshape_as", Flatten=(), Unflatten=())
def reshape(never_negative, input, *shape, **by_name):
    return never_negative(input)


@_operation(torch.permute, "permute")
def permute(never_negative, input, *dims):
    return never_negative(input)


@_operation(torch.transpose, torch.swapaxes, "transpose", "swapaxes")
def transpose(never_negative, input, dim0, dim1):
    return never_negative(input)


@_operation(operator.getitem)
def getitem(never_negative, input, index):
    return never_negative(input)


@_operation(torch.chunk, "chunk")
def chunk(never_negative, input, chunks, dim=0):
    return never_negative(input)


@_operation(torch.split, "split")
def split(never_negative, input, split_size_or_sections=None, dim=0, split_size=None):
    return never_negative(input)


@_operation(F.channel_shuffle, torch.channel_shuffle, ChannelShuffle=("groups",))
def channel_shuffle(never_negative, input, groups):
    return never_negative(input)


_NOTHING = dict.fromkeys(
    ["Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"], ()
)
_UNCHANGED = ("contiguous", "clone", "detach", "float", "to", "type_as")


@_operation(torch.clone, *_UNCHANGED, **_NOTHING, FeatureAlphaDropout=())
def identity(never_negative, input, *anything, **by_name):
    return never_negative(input)


# With training=False, or always on, which is refused below.
_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, torch.dropout)


@_operation(*_DROPOUTS, F.feature_alpha_dropout)
def dropout(never_negative, input, p=0.5, training=True, inplace=False, train=None):
    return never_negative(input)


@_operation("size", "dim", getattr, operator.floordiv, operator.mod, int, "numel", "__len__", len)
def number(never_negative, *anything, **by_name):
    """What is no tensor: sizes, and what is computed of them."""
    return False


#: Functions of one variable, which a table of their values replaces, one for each code.
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {}


def _function(
    name: str, function: Callable, *spellings: Any, positive: bool = False, **modules: tuple
) -> None:
    def sign(never_negative, input, inplace=False, **settings):
        return positive

    sign.__name__ = name
    sign.__signature__ = _with_input_first(function)
    FUNCTIONS[name] = function
    _operation(function, *spellings, **modules)(sign)


def _with_input_first(function: Callable) -> inspect.Signature:
    """The signature of a function of torch, behind the argument that all operations have."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = inspect.Parameter("never_negative", kind)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # built-in functions hide theirs
        defaults = {F.gelu: {"approximate": "none"}, F.softplus: {"beta": 1.0, "threshold": 20.0}}
        parameters = [inspect.Parameter("input", kind)]
        parameters += [
            inspect.Parameter(name, kind, default=default)
            for name, default in defaults.get(function, {}).items()
        ]
    return inspect.Signature([first, *parameters])


_function("silu", F.silu, SiLU=())
_function("hardswish", F.hardswish, Hardswish=())
_function("hardsigmoid", F.hardsigmoid, Hardsigmoid=(), positive=True)
_function("sigmoid", torch.sigmoid, F.sigmoid, "sigmoid", Sigmoid=(), positive=True)
_function("tanh", torch.tanh, F.tanh, "tanh", Tanh=())
_function("gelu", F.gelu, GELU=("approximate",))
_function("elu", F.elu, ELU=("alpha",))
_function("celu", F.celu, CELU=("alpha",))
_function("selu", F.selu, SELU=())
_function("softplus", F.softplus, Softplus=("beta", "threshold"), positive=True)
_function("mish", F.mish, Mish=())
_function("leaky_relu", F.leaky_relu, LeakyReLU=("negative_slope",))


def call_of(body: fx.GraphModule, node: fx.Node) -> Call | None:
    """A node as an operation; ``layer`` for what has weights; None for input, output and asserts.

    Raises:
        AusamError: for an operation without integer form, and for arguments that its signature does
            not have.
    """
    if node.op in ("placeholder", "output") or node.target is torch._assert:
        return None
    if node.op != "call_module":
        name = _SPELLINGS.get(node.target)
        if name is None:
            raise AusamError(no_integer_form(node.target, node.name))
        return Call(name, _bind(name, node.args, node.kwargs, node.name))
    module = body.get_submodule(node.target)
    if isinstance(module, (nn.Conv2d, nn.Linear, _BatchNorm)):
        return Call("layer", {"input": input_of(node)})
    if isinstance(module, InTraining):
        return Call("identity", {"input": input_of(node)})
    kind = next((k for k in type(module).__mro__ if k in _MODULES), None)
    if kind is None:
        # a quantizer passes on the sign, as far as it is asked
        if hasattr(module, "grid"):
            return Call("identity", {"input": input_of(node)})
        raise AusamError(no_integer_form(type(module), node.target))
    name, attributes = _MODULES[kind]
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
    + ", ".join(["sigmoid", "silu", "hardswish", "gelu", "tanh"])
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
    signature = inspect.signature(_OPERATIONS[name])
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
