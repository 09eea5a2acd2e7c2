"""The operations that have an integer form, with their parameters and all their spellings.

One operation has many spellings: ``torch.add(a, b, alpha=2)``, ``a.add(b, alpha=2)``, ``a + b``;
``nn.ReLU6()``, ``F.relu6``. Each operation is a function here: its parameters are those of PyTorch,
and its body says whether the result can be negative, given who is ``never_negative``. The sign
decides about the integers that a tensor is rounded to.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

OPERATIONS: dict[str, Callable[..., bool]] = {}
"""By name."""
SPELLINGS: dict[Any, str] = {}
"""The name of the operation that a function, or a method by its name, means."""
MODULES: dict[type, tuple[str, tuple[str, ...]]] = {}
"""The operation that a module is, and which of its attributes are arguments."""


def _operation(*spellings: Any, **modules: tuple[str, ...]) -> Callable[[Callable], Callable]:
    """Register the function as an operation: functions and methods that mean it, and modules of
    ``torch.nn`` with the attributes that are its arguments."""

    def register(function: Callable[..., bool]) -> Callable[..., bool]:
        name = function.__name__.rstrip("_")
        OPERATIONS[name] = function
        SPELLINGS.update(dict.fromkeys(spellings, name))
        MODULES.update({getattr(nn, kind): (name, names) for kind, names in modules.items()})
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
    if isinstance(tensors, (tuple, list)):
        return all(never_negative(tensor) for tensor in tensors)
    return never_negative(tensors)  # the pieces of one


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
