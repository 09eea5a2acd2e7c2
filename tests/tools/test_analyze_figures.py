"""The pictures of tools/analyze.py."""

import numpy as np
import pytest
from _analyze.figures import bin_edges, colours


@pytest.mark.parametrize("last", [3, 39, 40, 41, 200])
def test_bins_of_whole_numbers_hold_as_many_of_them_each(last):
    numbers = np.arange(3.0, last + 1)
    counts, _ = np.histogram(numbers, bin_edges(numbers))
    assert counts.sum() == len(numbers) and len(counts) <= 41
    assert len(set(counts[:-1])) <= 1 and counts[0] >= 1


def test_each_of_many_curves_has_a_colour_of_its_own():
    for count in (1, 6, 7, 20):
        assert len(set(colours(count))) == count
