"""Pooling of the integer network is PyTorch's, whatever its settings, in a fixed order of sums."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from tasks.qat.deploy.integer import OrderedPool
from tasks.qat.deploy.pooling import (
    adaptive_windows,
    max_pool,
    nearest_windows,
    pooled_size,
    strided_windows,
)

SIZES = (7, 10)
SETTINGS = [
    (kernel, stride, padding, ceil)
    for kernel, stride, padding in itertools.product((2, 3, 5), (1, 2, 3), (0, 1))
    for ceil in (False, True)
]


def values(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, *SIZES, generator=generator, dtype=torch.float64)


def pooled(rows, columns):
    counts = rows.counts[:, None] * columns.counts
    return OrderedPool(rows.indices, columns.indices, counts, SIZES)(values())


@pytest.mark.parametrize("outputs", [(1, 1), (2, 5), (3, 4), (7, 10), (6, 6)])
def test_adaptive_averages(outputs):
    windows = [adaptive_windows(*pair) for pair in zip(SIZES, outputs, strict=True)]
    torch.testing.assert_close(pooled(*windows), F.adaptive_avg_pool2d(values(), outputs))


@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_strided_averages(settings, count_padding):
    windows = [strided_windows(size, *settings, count_padding) for size in SIZES]
    expected = F.avg_pool2d(values(), *settings, count_include_pad=count_padding)
    torch.testing.assert_close(pooled(*windows), expected)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_maxima(settings, dilation):
    kernel, stride, padding, ceil = settings
    module = max_pool(SIZES, *[(n, n) for n in (kernel, stride, padding, dilation)], ceil)
    if min(pooled_size(s, kernel, stride, padding, dilation, ceil) for s in SIZES) < 1:
        pytest.skip("no window fits")
    expected = F.max_pool2d(values(), kernel, stride, padding, dilation, ceil)
    assert torch.equal(module(values()), expected)


def test_nearest_upsampling():
    windows = [nearest_windows(size, 3 * size) for size in SIZES]
    assert torch.equal(pooled(*windows), F.interpolate(values(), scale_factor=3))


def test_columns_are_added_up_before_rows_and_in_their_order():
    """Numbers of very different size: another order gives another sum."""
    image = torch.tensor([[1e16, 1.0, -1e16, 1.0]], dtype=torch.float64).view(1, 1, 2, 2)
    windows = [adaptive_windows(2, 1)] * 2
    one = torch.tensor(1.0)
    found = OrderedPool(windows[0].indices, windows[1].indices, one, (2, 2))(image)
    assert float(found) == (1e16 + 1.0) + (-1e16 + 1.0)
