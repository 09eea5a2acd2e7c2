"""Windows of pooling, as the integer network adds them up or takes their maximum.

One window a column here: ``indices[i, j]`` is the i-th pixel of output j along one dimension, in
the order in which it is added. Beyond the edge the index is the size of the map, which means 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from ausam_core.errors import AusamError
from tasks.qat.deploy.integer import MaxPool, OrderedPool
from tasks.qat.deploy.integer_graph import IntegerGraph


@dataclass(frozen=True)
class Windows:
    """Along one dimension.

    Attributes:
        indices: int64, ``[longest window, outputs]``.
        counts: int64, ``[outputs]``: what each window is divided by.
    """

    indices: Tensor
    counts: Tensor


def adaptive_windows(size: int, outputs: int) -> Windows:
    """Of ``AdaptiveAvgPool2d``: from ``⌊j·size/outputs⌋`` to ``⌈(j+1)·size/outputs⌉``."""
    spans = [(j * size // outputs, -(-(j + 1) * size // outputs)) for j in range(outputs)]
    return _windows(size, spans, [end - start for start, end in spans])


def strided_windows(
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, count_padding: bool
) -> Windows:
    """Of ``AvgPool2d``; with ``count_padding`` the padding counts, what lies beyond it never."""
    outputs = pooled_size(size, kernel, stride, padding, 1, ceil_mode)
    spans, counts = [], []
    for j in range(outputs):
        start = j * stride - padding
        end = min(start + kernel, size + padding)
        inside = max(start, 0), min(end, size)
        spans.append(inside)
        counts.append(end - start if count_padding else inside[1] - inside[0])
    return _windows(size, spans, counts)


def nearest_windows(size: int, outputs: int) -> Windows:
    """Of nearest upsampling by a whole factor: one pixel each."""
    factor = outputs // size
    return _windows(size, [(j // factor, j // factor + 1) for j in range(outputs)], [1] * outputs)


def _windows(size: int, spans: Sequence[tuple[int, int]], counts: Sequence[int]) -> Windows:
    longest = max(end - start for start, end in spans)
    indices = [
        [start + i if start + i < end else size for start, end in spans] for i in range(longest)
    ]
    return Windows(torch.tensor(indices), torch.tensor(counts))


def average(
    low: IntegerGraph,
    name: str,
    input: fx.Node,
    rows: Windows,
    columns: Windows,
    divisor: int | None = None,
) -> fx.Node:
    """Averages over windows; ``divisor`` replaces the number of pixels."""
    shape = low.shapes.of(input)
    if len(shape) != 3:
        raise AusamError(f"the pooling at {name} has no integer form but over [N, C, H, W]")
    counts = rows.counts[:, None] * columns.counts
    if divisor is not None:
        counts = torch.full_like(counts, divisor)
    if bool((counts == counts[0, 0]).all()):
        counts = counts[0, 0]
    module = OrderedPool(rows.indices, columns.indices, counts, shape[1:])
    return low.add(name, module, low.tensor(input))


def max_pool(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> MaxPool:
    """``MaxPool2d`` with its padding spelled out: ONNX rounds sizes up by another rule."""
    before, after = list(padding), []
    for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        outputs = pooled_size(size, k, s, p, d, ceil_mode)
        reach = (outputs - 1) * s + d * (k - 1) + 1  # what all windows together cover
        after.append(max(0, reach - size - p))
    return MaxPool(kernel, stride, dilation, (*before, *after))


def pooled_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """How many windows PyTorch takes: rounded up, the last begins inside the map or before it."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    outputs = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (outputs - 1) * stride >= size + padding:
        outputs -= 1
    return outputs


def pair(value: Any) -> tuple[Any, Any]:
    """Height and width."""
    return (value, value) if not isinstance(value, (tuple, list)) else tuple(value)
