"""How pooling and upsampling are computed in the integer network, as :mod:`tasks.qat.deploy.rules`
has it for all else."""

from __future__ import annotations

from torch import fx

from tasks.qat.deploy.integer import Reshape
from tasks.qat.deploy.integer_graph import IntegerGraph
from tasks.qat.deploy.pooling import (
    adaptive_windows,
    average,
    max_pool,
    nearest_windows,
    pair,
    strided_windows,
)
from tasks.qat.deploy.rules import refuse, rule


@rule
def mean(low: IntegerGraph, node: fx.Node, input, dim=None, keepdim=False):
    shape, dims = low.shapes.of(input), low.number(dim)
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    rank = len(shape) + 1
    over = set() if None in dims else {d % rank for d in dims}
    if rank != 4 or not over or not over <= {2, 3}:
        raise refuse(node, "but over height or width of [N, C, H, W], or both, dim=(2, 3)")
    windows = [
        adaptive_windows(size, 1 if axis in over else size)
        for axis, size in enumerate(shape[1:], 2)
    ]
    pooled = average(low, node.name, input, *windows)
    return pooled if keepdim else low.add(f"{node.name}.flat", Reshape(low.shapes.of(node)), pooled)


def _size_of_map(low: IntegerGraph, node: fx.Node, input: fx.Node) -> tuple[int, int]:
    shape = low.shapes.of(input)
    if len(shape) != 3:
        found = ", ".join(map(str, shape))
        raise refuse(node, f"over [N, {found}]; it takes maps, [N, C, H, W]")
    return shape[1], shape[2]


@rule
def adaptive_avg_pool2d(low: IntegerGraph, node: fx.Node, input, output_size):
    wanted = pair(low.number(output_size))
    rows, columns = (
        adaptive_windows(size, size if out is None else out)
        for size, out in zip(_size_of_map(low, node, input), wanted, strict=True)
    )
    return average(low, node.name, input, rows, columns)


@rule
def avg_pool2d(
    low: IntegerGraph,
    node: fx.Node,
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    kernel, padding = pair(low.number(kernel_size)), pair(low.number(padding))
    stride = pair(low.number(stride) or kernel)
    windows = [
        strided_windows(size, *settings, ceil_mode, count_include_pad)
        for size, *settings in zip(
            _size_of_map(low, node, input), kernel, stride, padding, strict=True
        )
    ]
    return average(low, node.name, input, *windows, divisor=divisor_override)


@rule
def max_pool2d(
    low: IntegerGraph,
    node: fx.Node,
    input,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
):
    if return_indices:
        raise refuse(node, "with return_indices=True; return the maxima alone")
    kernel = pair(low.number(kernel_size))
    module = max_pool(
        _size_of_map(low, node, input),
        kernel,
        pair(low.number(stride) or kernel),
        pair(low.number(padding)),
        pair(dilation),
        ceil_mode,
    )
    return low.add(node.name, module, low.tensor(input))


@rule
def adaptive_max_pool2d(low: IntegerGraph, node: fx.Node, input, output_size, return_indices=False):
    sizes, wanted = _size_of_map(low, node, input), pair(low.number(output_size))
    wanted = [size if out is None else out for size, out in zip(sizes, wanted, strict=True)]
    if return_indices or any(size % out for size, out in zip(sizes, wanted, strict=True)):
        raise refuse(node, "unless its windows are even and it returns the maxima alone")
    kernel = [size // out for size, out in zip(sizes, wanted, strict=True)]
    return low.add(
        node.name, max_pool(sizes, kernel, kernel, (0, 0), (1, 1), False), low.tensor(input)
    )


@rule
def interpolate(
    low: IntegerGraph,
    node: fx.Node,
    input,
    scale_factor=None,
    mode="nearest",
    recompute_scale_factor=None,
    **rest,
):
    if mode != "nearest":
        raise refuse(node, f'with mode="{mode}"; take mode="nearest"')
    sizes, results = _size_of_map(low, node, input), low.shapes.of(node)[1:]
    if any(out % size for size, out in zip(sizes, results, strict=True)):
        raise refuse(node, f"from {list(sizes)} to {list(results)}; take a whole factor")
    factors = low.number(scale_factor)
    if factors is not None and not recompute_scale_factor:
        # pixels are looked up by the factor itself, also where the sizes come out whole
        for factor, size, out in zip(pair(factors), sizes, results, strict=True):
            if factor != out // size:
                raise refuse(node, f"by the factor {factor}; take a whole factor")
    windows = [nearest_windows(*pair) for pair in zip(sizes, results, strict=True)]
    return average(low, node.name, input, *windows)
