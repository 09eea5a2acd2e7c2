"""Choosing before loading: the batches, their order, their memory."""

import copy
from inspect import signature

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from ausam_core import (
    AllSamples,
    AusamError,
    GradientNormSelection,
    SelectiveBatchSampler,
    StepResult,
    UniformSelection,
)
from ausam_core.random_state import keyed_generator


def result(*difference):
    after = torch.tensor(difference)
    zero = torch.zeros(())
    return StepResult(zero, torch.zeros_like(after), after, zero, torch.tensor(True))


def sampler(selection, n=10, batch_size=4, **kwargs):
    return SelectiveBatchSampler(SequentialSampler(range(n)), batch_size, selection, **kwargs)


def loader_of(batches, n=10, **kwargs):
    return DataLoader(range(n), batch_sampler=batches, collate_fn=list, **kwargs)


def run_epoch(batches, epoch=None, score=float):
    if epoch is not None:
        batches.set_epoch(epoch)
    seen = []
    for batch, indices in batches.over(loader_of(batches)):
        assert batch.indices == indices
        seen.append(indices)
        batches.record(batch, result(*(score(i) for i in indices)))
    return seen


def half(n=10, **kwargs):
    return GradientNormSelection(n, start_epoch=30, **kwargs)


def test_all_samples_gives_the_batches_of_torch():
    batches = sampler(AllSamples())
    assert list(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(sampler(AllSamples(), drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_the_length_is_that_without_selection(alpha, drop_last):
    chosen = sampler(UniformSelection(10, alpha), drop_last=drop_last)
    assert len(chosen) == len(list(chosen)) == len(sampler(AllSamples(), drop_last=drop_last))


def test_every_batch_keeps_its_share_and_its_order():
    for batch, size in zip(sampler(UniformSelection(10, 0.5)), (4, 4, 2), strict=True):
        assert len(batch) == max(2, size // 2) and batch == sorted(batch)


def test_the_first_epoch_of_ausam_is_whole_and_later_ones_are_not():
    batches = sampler(half())
    assert [len(b) for b in run_epoch(batches, 0)] == [4, 4, 2]
    assert [len(b) for b in run_epoch(batches, 1)] == [2, 2, 2]


def test_draws_are_a_function_of_seed_epoch_and_rank():
    def draw(*key):
        return torch.rand(4, generator=keyed_generator("a purpose", *key)).tolist()

    assert draw(0, 1, 0) == draw(0, 1, 0)
    assert len({tuple(draw(*k)) for k in [(0, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 0)]}) == 4


def test_an_epoch_is_drawn_alike_however_often_it_is_begun():
    batches = sampler(UniformSelection(10))
    batches.set_epoch(3)
    assert list(batches) == list(batches)
    batches.set_epoch(4)
    fourth = list(batches)
    batches.set_epoch(3)
    assert list(batches) != fourth


@pytest.mark.parametrize("workers", [0, 2])
def test_scores_go_to_the_samples_that_were_trained_though_workers_prefetch(workers):
    data = TensorDataset(torch.arange(40.0))
    selection = half(40)
    batches = SelectiveBatchSampler(RandomSampler(data), 8, selection)
    loader = DataLoader(data, batch_sampler=batches, num_workers=workers)
    for epoch in range(3):
        batches.set_epoch(epoch)
        for batch, (x,) in batches.over(loader):
            batches.record(batch, result(*x.tolist()))
    assert torch.equal(selection.scores.of(torch.arange(40)), torch.arange(40.0))


def test_the_last_batch_of_an_epoch_makes_its_scores_count():
    batches = sampler(half())
    run_epoch(batches, 0)
    assert batches.selection.scores.of(torch.arange(10)).tolist() == list(range(10))


def test_an_epoch_that_was_left_early_counts_when_the_next_begins():
    batches = sampler(half())
    batches.set_epoch(0)
    for batch, indices in batches.over(loader_of(batches)):
        batches.record(batch, result(*map(float, indices)))
        break
    batches.set_epoch(1)
    assert batches.selection.scores.of(torch.arange(5)).tolist()[:4] == [0, 1, 2, 3]


def test_a_resumed_sampler_draws_what_the_uninterrupted_one_draws(tmp_path):
    whole = sampler(half(), seed=5)
    run_epoch(whole, 0), run_epoch(whole, 1)
    torch.save(whole.state_dict(), tmp_path / "s.pt")
    resumed = sampler(half(), seed=0)
    resumed.load_state_dict(torch.load(tmp_path / "s.pt", weights_only=True))
    for epoch in (2, 3):
        assert run_epoch(resumed, epoch) == run_epoch(whole, epoch)


def test_another_setting_is_not_resumed():
    state = sampler(half(alpha=0.5)).state_dict()
    with pytest.raises(AusamError, match="alpha was 0.5 and is 0.75"):
        sampler(half(alpha=0.75)).load_state_dict(copy.deepcopy(state))
    with pytest.raises(AusamError, match="selection was 'gradient_norm' and is 'uniform'"):
        sampler(UniformSelection(10)).load_state_dict(state)


def test_the_epoch_is_handed_on_to_a_distributed_sampler():
    inner = DistributedSampler(range(8), num_replicas=2, rank=1)
    batches = SelectiveBatchSampler(inner, 4, AllSamples())
    batches.set_epoch(1)
    first = list(batches)
    batches.set_epoch(2)
    assert first != list(batches) and len(batches) == 1


def test_without_set_epoch_the_epochs_go_on_by_themselves():
    told, alone = sampler(half()), sampler(half())
    assert [run_epoch(told, e) for e in range(3)] == [run_epoch(alone) for _ in range(3)]


def test_an_epoch_that_is_left_early_is_followed_by_the_next():
    batches = sampler(half())
    for _ in range(3):
        for _batch, _indices in batches.over(loader_of(batches)):
            break
    assert batches.epoch == 2
    batches.end_epoch()
    assert batches.state_dict()["epoch"] == 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("disturbance", ["peek", "continue", "unrecorded", "twice over"])
def test_scores_never_go_to_other_samples(disturbance, workers):
    data = TensorDataset(torch.arange(40.0))
    selection = half(40)
    batches = SelectiveBatchSampler(RandomSampler(data), 8, selection)
    loader = DataLoader(data, batch_sampler=batches, num_workers=workers)
    for epoch in range(2):
        for i, (batch, (x,)) in enumerate(batches.over(loader)):
            if disturbance == "peek" and i == 1:
                next(iter(loader))
            if disturbance == "continue" and i == 1:
                continue
            found = result(*x.tolist())
            if disturbance == "unrecorded" and epoch == 1:
                continue
            if disturbance == "twice over" and i == 2:
                list(loader)
            batches.record(batch, found)
    scores = selection.scores.of(torch.arange(40))
    known = ~scores.isnan()
    assert known.sum() >= 32 and torch.equal(scores[known], torch.arange(40.0)[known])


def test_a_batch_is_recorded_once_and_in_its_own_epoch():
    batches = sampler(half())
    for batch, indices in batches.over(loader_of(batches)):
        batches.record(batch, result(*map(float, indices)))
        with pytest.raises(AusamError, match="a batch of epoch 0 was recorded twice"):
            batches.record(batch, result(*map(float, indices)))
    with pytest.raises(AusamError, match=r"or after its epoch \(now 1\)"):
        batches.record(batch, result(*map(float, indices)))


def test_an_epoch_that_is_over_is_not_ended_twice():
    batches = sampler(half())
    run_epoch(batches)
    batches.end_epoch()
    assert batches.epoch == 1
    assert [len(indices) for indices in run_epoch(batches)] == [2, 2, 2]


@pytest.mark.parametrize("mid_epoch", [False, True])
def test_a_generator_of_the_inner_sampler_goes_on_where_it_was(mid_epoch):
    def begin():
        inner = RandomSampler(range(10), generator=torch.Generator().manual_seed(3))
        return SelectiveBatchSampler(inner, 4, AllSamples())

    whole = begin()
    expected = [run_epoch(whole) for _ in range(3)]
    first, second = begin(), begin()
    run_epoch(first)
    if mid_epoch:  # the epoch that was broken off is begun again
        next(first.over(loader_of(first)))
    second.load_state_dict(first.state_dict())
    assert [run_epoch(second) for _ in range(2)] == expected[1:]


def test_a_selection_that_begins_before_its_method_says_so():
    batches = sampler(half())
    nothing = StepResult(torch.zeros(()), torch.zeros(4), None, None, torch.tensor(True))
    with pytest.warns(UserWarning, match="give the selection the same start"):
        for batch, _ in batches.over(loader_of(batches)):
            batches.record(batch, nothing)


def test_samples_that_a_selection_does_not_know_are_refused_when_they_are_recorded():
    late = half(n=5, start=0.5)
    late.begin_run(4)
    with pytest.raises(AusamError, match="samples 0 to 7, but the selection was made for a data"):
        run_epoch(sampler(late, n=8, batch_size=8))


def test_an_epoch_of_which_nothing_was_recorded_is_said():
    batches = sampler(half())
    with pytest.warns(UserWarning, match="no batch of epoch 0 was recorded"):
        for _ in batches.over(loader_of(batches)):
            pass


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (lambda s: DataLoader(range(10), 4), "is BatchSampler, not this SelectiveBatchSampler"),
        (lambda s: list(s), "the batch sampler of list is NoneType"),
        pytest.param(
            lambda s: loader_of(s, num_workers=1, in_order=False),
            "in_order=False",
            marks=pytest.mark.skipif(
                "in_order" not in signature(DataLoader).parameters,
                reason="DataLoader has in_order since torch 2.6",
            ),
        ),
    ],
)
def test_a_loader_that_may_give_other_batches_is_refused(loader, message):
    batches = sampler(half())
    with pytest.raises(AusamError, match=message):
        next(batches.over(loader(batches)))


class Endless(SequentialSampler):
    def __iter__(self):
        while True:
            yield from range(10)


def test_a_sampler_without_an_end_is_refused():
    with pytest.raises(AusamError, match="says that it has 10 samples and gives more"):
        list(SelectiveBatchSampler(Endless(range(10)), 4, AllSamples()))
    with pytest.raises(AusamError, match="generator has no length"):
        SelectiveBatchSampler((i for i in range(3)), 2, AllSamples())


def test_a_batch_of_which_nothing_can_be_kept_is_refused():
    with pytest.raises(AusamError, match="less than one sample; use a batch of at least 5"):
        sampler(half(alpha=0.2))
    with pytest.raises(AusamError, match="batch_size must be 1 or more"):
        sampler(AllSamples(), batch_size=0)
