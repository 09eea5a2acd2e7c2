"""A tracer that sees the layer in a class derived from one, and says where it failed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

_OF_CONV = dict(stride=1, padding=0, dilation=1, groups=1)
_FUNCTIONS: dict[type[nn.Module], tuple[str, dict[str, Any]]] = {
    nn.Conv2d: ("conv2d", dict(weight=None, bias=None, **_OF_CONV)),
    nn.Linear: ("linear", dict(weight=None, bias=None)),
    _BatchNorm: (
        "batch_norm",
        dict(running_mean=None, running_var=None, weight=None, bias=None)
        | dict(training=False, momentum=0.1, eps=1e-5),
    ),
}
"""What the forward of a layer calls with its own parameters: arguments behind the input."""


class Proxy(fx.Proxy):
    """Writes ``x += y`` down as what it is; that of fx takes it for ``x = x + y``, and then another
    name of x would keep the old values."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.itruediv, other)

    def _changed(self, function: Callable[..., Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})


class Tracer(fx.Tracer):
    """``fx.Tracer`` with three more things to know.

    A class derived from Conv2d, Linear or BatchNorm with a forward of its own, as timm's
    ``BatchNormAct2d``, is traced into; its call of ``F.batch_norm`` with what it holds becomes a
    call of the module itself. So the activation behind is seen, and the names of parameters stay.
    :meth:`make_plain` then lets the module be BatchNorm and nothing else. What ``+=`` and the like
    change in place is written down as such.

    Args:
        only: modules that may be taken so, by name; those of a trace in the other mode.

    Attributes:
        plain: the modules that were taken so, and the class of torch that they are.
        where: the innermost module in which tracing failed: its name and itself.
    """

    def __init__(self, only: Container[str] | None = None) -> None:
        super().__init__()
        self.where: tuple[str, nn.Module] | None = None
        self.plain: dict[str, type[nn.Module]] = {}
        self._only = only

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Proxy(node, self)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        kind = next((kind for kind in _FUNCTIONS if isinstance(m, kind)), None)
        try:
            if kind is None or self.is_leaf_module(m, path):
                return super().call_module(m, forward, args, kwargs)
            with self._calling_itself(m, path, *_FUNCTIONS[kind]), _counting_nothing(m):
                return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.where = self.where or (path, m)
            raise

    def make_plain(self, body: fx.GraphModule) -> None:
        """Take from the modules that were traced into the forward that the graph now holds."""
        for path, kind in self.plain.items():
            body.get_submodule(path).__class__ = kind

    @contextmanager
    def _calling_itself(
        self, layer: nn.Module, path: str, name: str, defaults: dict[str, Any]
    ) -> Iterator[None]:
        original = getattr(F, name)

        def function(input: Any, *args: Any, **kwargs: Any) -> Any:
            given = {**defaults, **dict(zip(defaults, args, strict=False)), **kwargs}
            taken = self._only is None or path in self._only
            if not taken or not _is_its_own(layer, path, given):
                return original(input, *args, **kwargs)
            bases = type(layer).__mro__
            self.plain[path] = next(k for k in bases if k.__module__.startswith("torch.nn."))
            return self.create_proxy("call_module", path, (input,), {})

        setattr(F, name, function)
        try:
            yield
        finally:
            setattr(F, name, original)


def _is_its_own(layer: nn.Module, path: str, given: dict[str, Any]) -> bool:
    """Whether a function is called with what the layer holds, as the plain layer would call it."""
    for name in ("weight", "bias"):
        value = given[name]
        target = value.node.target if isinstance(value, fx.Proxy) else value
        if target != (f"{path}.{name}" if getattr(layer, name) is not None else None):
            return False
    if isinstance(layer, nn.Conv2d):
        return all(_pair(given[name]) == _pair(getattr(layer, name)) for name in _OF_CONV)
    if isinstance(layer, _BatchNorm):
        return given["eps"] == layer.eps and given["training"] == layer.training
    return True


def _pair(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value, value)


@contextmanager
def _counting_nothing(layer: nn.Module) -> Iterator[None]:
    """Tracing is no batch."""
    count = getattr(layer, "num_batches_tracked", None)
    before = None if count is None else count.clone()
    try:
        yield
    finally:
        if count is not None and before is not None:
            with torch.no_grad():
                count.copy_(before)


def clean(body: fx.GraphModule) -> None:
    """Forget assertions, and what is looked at and not used: shapes in a message, parameters."""
    for node in reversed(list(body.graph.nodes)):
        if node.target is torch._assert:
            _erase(body.graph, node)
    for node in list(body.graph.nodes):
        if not node.users and (node.op == "get_attr" or node.target is getattr):
            body.graph.erase_node(node)


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    sources = node.all_input_nodes
    graph.erase_node(node)
    for source in sources:
        if not source.users and source.op != "placeholder":
            _erase(graph, source)
