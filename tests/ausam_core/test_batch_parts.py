"""Some samples of a batch, whatever holds it."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from types import MappingProxyType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ausam_core.batch_parts import batch_length, call_length, part_of_batch, part_of_call

Pair = namedtuple("Pair", "x y")
N = 4
KEEP = torch.tensor([2, 0])


def rows(*shape: int) -> torch.Tensor:
    return torch.arange(float(torch.tensor(shape).prod())).reshape(shape)


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "keys"):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b


x, y, images = rows(N, 3), rows(N), [rows(3, 2 + i) for i in range(N)]
CASES = {
    "tensor": (x, x[KEEP]),
    "collated pair": ([x, y], [x[KEEP], y[KEEP]]),
    "tuple": ((x, y), (x[KEEP], y[KEEP])),
    "named tuple": (Pair(x, y), Pair(x[KEEP], y[KEEP])),
    "mapping": (dict(x=x, names=list("abcd")), dict(x=x[KEEP], names=["c", "a"])),
    "images of different size": (dict(x=images), dict(x=[images[2], images[0]])),
    "list of samples": (images, [images[2], images[0]]),
    "lists side by side": ([images, list("abcd")], [[images[2], images[0]], ["c", "a"]]),
    "pair inside": (dict(p=(x, x + 1)), dict(p=(x[KEEP], x[KEEP] + 1))),
    "named tuple inside": ([Pair(x, "mean")], [Pair(x[KEEP], "mean")]),
    "tuple of samples inside": (dict(p=tuple("abcd")), dict(p=("c", "a"))),
    "nested": (dict(a=dict(b=(dict(c=x), 1))), dict(a=dict(b=(dict(c=x[KEEP]), 1)))),
    "of all samples": (
        dict(x=x, w=rows(7), s="abcd", n=4),
        dict(x=x[KEEP], w=rows(7), s="abcd", n=4),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_samples_that_are_asked_for_come_in_their_order(name):
    batch, expected = CASES[name]
    assert same(part_of_batch(batch, KEEP, N), expected)
    if name not in ("list of samples", "nested"):  # these do not tell
        assert batch_length(batch) == N


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_collated_pair_is_never_taken_for_samples(size):
    for batch in ([rows(size, 3), rows(size)], (rows(size, 3), rows(size))):
        part = part_of_batch(batch, torch.tensor([0]), size)
        assert [len(v) for v in part] == [1, 1] and len(batch[0]) == size


def test_simcc_pairs_are_split_though_there_are_as_many_samples_as_vectors():
    (preds, labels), _ = part_of_call(
        ((rows(2, 4), rows(2, 5)), (rows(2, 4), rows(2, 5))), {}, torch.tensor([1]), 2
    )
    assert [p.shape for p in (*preds, *labels)] == [(1, 4), (1, 5)] * 2


def test_as_many_images_as_channels_are_samples():
    part = part_of_batch(dict(inputs=[rows(3, 2, 2)] * 3), torch.tensor([0, 2]), 3)
    assert [tuple(v.shape) for v in part["inputs"]] == [(3, 2, 2)] * 2


def test_as_many_targets_as_boxes_are_samples():
    targets = [dict(boxes=rows(2, 4)), dict(boxes=rows(2, 4) + 1)]
    part = part_of_batch(targets, torch.tensor([1]), 2)
    assert same(part, [targets[1]])
    part = part_of_batch([rows(2, 3, 8, 8), targets], torch.tensor([1]), 2)
    assert same(part, [rows(2, 3, 8, 8)[1:], [targets[1]]])


def test_arguments_of_a_call_are_never_taken_for_samples():
    args, kwargs = part_of_call((x[:3], y[:3], None), dict(mask=None), torch.tensor([1]), 3)
    assert same(args, (x[1:2], y[1:2], None)) and kwargs == dict(mask=None)
    assert call_length((x, None), {}) == call_length((), dict(x=x)) == N
    assert call_length((x,), dict(weight=rows(7))) == N
    assert call_length((None, 3), dict(mode="loss")) is None


class Encoding(UserDict):
    """A mapping that models read by attribute, as tokenizers return."""

    def __getattr__(self, name):
        return self.data[name]


def test_mappings_keep_their_type():
    for batch in (OrderedDict(x=x), Encoding(x=x), defaultdict(list, x=x)):
        part = part_of_batch(batch, KEEP, N)
        assert type(part) is type(batch) and torch.equal(part["x"], x[KEEP])
        assert len(batch["x"]) == N
    assert torch.equal(part_of_batch(MappingProxyType(dict(x=x)), KEEP, N)["x"], x[KEEP])
    assert torch.equal(part_of_batch(Encoding(x=x), KEEP, N).x, x[KEEP])


def test_a_part_is_a_copy():
    part = part_of_batch(x, torch.arange(N), N)
    part += 1
    assert torch.equal(x, rows(N, 3))


@pytest.mark.parametrize("batch", [torch.tensor(1.0), "abcd", 3, None, [], {}, dict(a=1)])
def test_what_holds_no_samples_has_no_length_and_is_handed_through(batch):
    assert batch_length(batch) is None
    assert same(part_of_batch(batch, KEEP, N), batch)


def batches(size: int):
    """Nested batches of ``size`` samples; every sample of every entry carries its number."""
    numbers = torch.arange(size)
    leaf = st.sampled_from([numbers, numbers[:, None].expand(size, 5), list(range(size))])
    return st.recursive(
        leaf, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1), max_leaves=5
    )


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 6))
def test_a_part_of_a_part_is_a_part(data, size):
    batch = data.draw(batches(size))
    once = torch.tensor(data.draw(st.permutations(range(size))))
    twice = torch.tensor(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=size)))
    there = part_of_batch(part_of_batch(batch, once, size), twice, size)
    assert same(there, part_of_batch(batch, once[twice], size))
    assert batch_length(there) == len(twice)
