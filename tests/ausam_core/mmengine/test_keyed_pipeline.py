"""A sample is augmented by (seed, epoch, index) alone, and nothing else notices."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset, pseudo_collate

from ausam_core.mmengine.keyed_pipeline import batch_length, indices_of, key_dataset, take
from tests.ausam_core.mmengine.tiny import Points, augment, pack


def keyed(dataset=None, seed=1, epoch=0, randomness=True):
    dataset = dataset or Points(6, [augment, pack])
    assert key_dataset(dataset, torch.tensor([seed, epoch]), randomness)
    return dataset


def test_chance_depends_on_seed_epoch_and_index_alone():
    def sample(i, **key):
        return keyed(**key)[i]["inputs"]

    first = sample(3)
    torch.rand(5), np.random.rand(5), random.random()
    data = keyed()
    data[0], data[5]
    assert torch.equal(data[3]["inputs"], first)
    assert not torch.equal(sample(3, seed=2), first)
    assert not torch.equal(sample(3, epoch=1), first)
    plain = Points(6)
    noise = [sample(i) - plain[i]["inputs"] for i in (2, 3)]
    assert not torch.allclose(*noise)


def test_the_training_process_does_not_notice():
    data = keyed()

    def draw(load):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        if load:
            data[2]
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    assert draw(True) == draw(False)


def test_the_index_is_carried_through_concatenation():
    data = keyed(ConcatDataset([Points(4, [augment, pack]), Points(3, [augment, pack])]))
    batch = pseudo_collate([data[i] for i in (5, 0, 4)])
    assert indices_of(batch) == [5, 0, 4]


def test_a_data_set_that_rearranges_samples_is_left_alone():
    assert not key_dataset(RepeatDataset(Points(4), 2), torch.zeros(2, dtype=torch.int64))
    assert not key_dataset(list(range(4)), torch.zeros(2, dtype=torch.int64))


def test_keying_twice_is_keying_once():
    data = keyed()
    inner = data.pipeline
    assert keyed(data).pipeline is inner


def test_the_pipeline_can_still_be_looked_into():
    data = keyed()
    assert len(data.pipeline.transforms) == 2


@pytest.mark.parametrize(
    "batch", [(1, 2), dict(inputs=torch.zeros(3)), dict(data_samples=[1, 2]), dict(data_samples=[])]
)
def test_a_batch_without_indices_says_so(batch):
    assert indices_of(batch) is None


def test_taking_a_part_of_a_batch_keeps_every_field_together():
    data = keyed()
    batch = pseudo_collate([data[i] for i in range(6)])
    batch |= dict(stacked=torch.arange(6) * 10, shared=torch.zeros(2), name="a name")
    before = batch["inputs"]
    take(batch, torch.tensor([1, 4]))
    assert indices_of(batch) == [1, 4]
    assert batch["inputs"][0] is before[1] and batch["inputs"][1] is before[4]
    assert batch["stacked"].tolist() == [10, 40]
    assert len(batch["shared"]) == 2 and batch["name"] == "a name"
    assert batch_length(batch) == 2
