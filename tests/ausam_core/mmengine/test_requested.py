"""A batch knows which samples were asked for; chance is keyed to them, and nothing else notices."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset, pseudo_collate
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from ausam_core.mmengine.choice import keep_part
from ausam_core.mmengine.requested import carrying, indices_of, let_batches_tell
from tests.ausam_core.mmengine.tiny import Points, augment, pack

ORDER = [[5, 0], [4, 2, 1]]


def loader_of(dataset=None, seed=1, epoch=0, keyed=True, batches=ORDER, workers=0, **kwargs):
    dataset = dataset or Points(8, [augment, pack])
    kwargs.setdefault("collate_fn", pseudo_collate)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers, **kwargs)
    let_batches_tell(loader, torch.tensor([seed, epoch]) if keyed else None)
    return loader


def sample(i, **kwargs):
    return next(iter(loader_of(batches=[[i]], **kwargs)))["inputs"][0]


def test_chance_depends_on_seed_epoch_and_index_alone():
    first = sample(3)
    torch.rand(5), np.random.rand(5), random.random()
    loader = loader_of(batches=[[0, 5, 3]])
    assert torch.equal(next(iter(loader))["inputs"][2], first)
    assert not torch.equal(sample(3, seed=2), first)
    assert not torch.equal(sample(3, epoch=1), first)
    plain = Points(8)
    noise = [sample(i) - plain[i]["inputs"] for i in (2, 3)]
    assert not torch.allclose(*noise)


def test_the_training_process_does_not_notice():
    def draw(load):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        if load:
            loader = loader_of(generator=torch.Generator())
            list(loader)
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    assert draw(True) == draw(False)


class Pairs(Dataset):
    """No data set of MMEngine: gives tuples."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return torch.full((2,), float(i)), i


class Several(Pairs):
    """Fetches a batch at once."""

    def __getitems__(self, indices):
        return [self[i] for i in indices]


DATA = {
    "one": lambda: Points(8, [augment, pack]),
    "concatenated": lambda: ConcatDataset([Points(4, [augment, pack]), Points(4, [augment, pack])]),
    "repeated": lambda: RepeatDataset(Points(3, [augment, pack]), 2),
    "a part": lambda: Subset(Points(20, [augment, pack]), range(9, 17)),
    "tuples": Pairs,
    "a batch at once": Several,
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", DATA)
def test_every_data_set_keeps_its_samples_apart(name, workers):
    collate = default_collate if name in ("tuples", "a batch at once") else pseudo_collate
    loader = loader_of(DATA[name](), workers=workers, collate_fn=collate)
    batches = list(loader)
    assert [indices_of(batch) for batch in batches] == ORDER


def test_who_looks_at_the_loader_sees_its_own_data_set_and_may_change_it():
    data = Points(8, [augment, pack])
    loader = loader_of(data)
    next(iter(loader))
    assert loader.dataset is data and loader.collate_fn is pseudo_collate
    assert isinstance(loader, DataLoader) and type(loader).__name__ == "DataLoader"
    loader.dataset.pipeline.transforms.pop(0)
    batch = next(iter(loader))
    assert torch.equal(batch["inputs"][0], Points(8)[5]["inputs"]) and indices_of(batch) == [5, 0]


def test_asking_twice_is_asking_once():
    loader = loader_of()
    kind = type(loader)
    let_batches_tell(loader)
    assert type(loader) is kind and indices_of(next(iter(loader))) == ORDER[0]
    assert loader.ausam_key is not None, "the key stays where no other is given"


@pytest.mark.parametrize("batch", [(1, 2), dict(inputs=1), [3], torch.zeros(3), None])
def test_a_batch_that_nobody_made_tell_says_nothing(batch):
    assert indices_of(batch) is None


@pytest.mark.parametrize("batch", [dict(a=1), [torch.zeros(2)], (torch.zeros(2), [1, 2])])
def test_a_batch_that_carries_its_indices_is_what_it_was(batch):
    told = carrying(batch, [7, 8])
    assert indices_of(told) == [7, 8]
    assert isinstance(told, (dict, list)) and told == (
        list(batch) if type(batch) is tuple else batch
    )


def test_keeping_a_part_keeps_every_field_together():
    batch = next(iter(loader_of(batches=[[3, 1, 7, 0, 4, 2]])))
    batch |= dict(stacked=torch.arange(6) * 10, shared=torch.zeros(2), name="a name")
    before = batch["inputs"]
    keep_part(batch, [1, 4])
    assert indices_of(batch) == [1, 4]
    assert batch["inputs"][0] is before[1] and batch["inputs"][1] is before[4]
    assert batch["stacked"].tolist() == [10, 40]
    assert len(batch["shared"]) == 2 and batch["name"] == "a name"


def test_keeping_a_part_of_a_list_keeps_it_the_same_list():
    batch = next(iter(loader_of(Pairs(), batches=[[3, 1, 7]], collate_fn=default_collate)))
    same = batch
    keep_part(batch, [1, 7])
    assert same is batch and batch[0][:, 0].tolist() == [1, 7] and batch[1].tolist() == [1, 7]
