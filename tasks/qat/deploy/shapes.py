"""What the nodes of a graph give for inputs of one shape: shapes of tensors, values of sizes.

The graph is run with two batches of different size. What differs between the two depends on the
size of the batch; the integer network keeps that size free and fixes all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from ausam_core.errors import AusamError
from tasks.qat.graph import in_mode
from tasks.qat.network import QuantizedNetwork

_SIZES = (2, 3)


class Shapes:
    """Shapes of one sample, and sizes.

    Args:
        network: is run in floating point and evaluation mode; it does not change.
        input_shape: of one input, ``(C, H, W)``.

    Raises:
        AusamError: for a network that does not run on such an input.
    """

    def __init__(self, network: QuantizedNetwork, input_shape: tuple[int, ...]) -> None:
        self._runs = []
        parameter = network.layers()[0][1].weight
        network.behaviour.floats = True
        try:
            with torch.no_grad(), in_mode(network, False), network.quantized_weights():
                for size in _SIZES:
                    recorder = _Recorder(network.body)
                    recorder.run(torch.zeros(size, *input_shape).to(parameter))
                    self._runs.append(recorder.found)
        except Exception as error:  # torch raises many kinds
            raise does_not_run(input_shape, error) from error
        finally:
            network.behaviour.floats = False

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether a node is a tensor, and no size."""
        return isinstance(self._runs[0].get(node), _Shape)

    def of(self, node: fx.Node) -> tuple[int, ...]:
        """The shape that a node has for one sample, without the dimension of the batch.

        Raises:
            AusamError: where dimension 0 is not the batch, or another depends on its size.
        """
        small, large = (run[node] for run in self._runs)
        batch_first = (small[:1], large[:1]) == ((_SIZES[0],), (_SIZES[1],))
        if not batch_first or small[1:] != large[1:]:
            raise AusamError(
                f"what {node.name} gives mixes the samples of a batch (shape {list(small)} for "
                f"{_SIZES[0]} of them), which has no integer form; keep dimension 0 for the batch"
            )
        return tuple(small[1:])

    def parts(self, node: fx.Node) -> list[tuple[int, ...]]:
        """The shapes, with the batch, of what ``chunk`` or ``split`` gives."""
        return list(self._runs[0][node])

    def value(self, node: fx.Node) -> Any:
        """A number that was computed of sizes.

        Raises:
            AusamError: where it depends on the size of the batch.
        """
        small, large = (run[node] for run in self._runs)
        if small != large:
            raise AusamError(
                f"the number {node.name} depends on the size of the batch, which stays free in the "
                "integer network"
            )
        return small


def does_not_run(input_shape: Sequence[int], error: Exception) -> AusamError:
    """The sentence about an input that the network does not take, with the first line of torch."""
    (reason, *_) = str(error).splitlines() or [type(error).__name__]
    return AusamError(
        f"the network does not run on an input of shape {list(input_shape)} ({reason.strip()}); "
        "give an example of what it takes, the batch first"
    )


class _Shape(tuple):
    """The shape of a tensor, told from a tuple of numbers."""


class _Recorder(fx.Interpreter):
    def __init__(self, body: fx.GraphModule) -> None:
        super().__init__(body)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        self.found[node] = _plain(result)
        return result


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Shape(value.shape)
    if isinstance(value, (tuple, list)) and any(isinstance(v, Tensor) for v in value):
        return [_plain(v) for v in value]
    return value
