"""Choosing before loading: the batches, their order, their memory."""

import copy

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
from ausam_core.random_state import epoch_generator


def result(*difference):
    after = torch.tensor(difference)
    zero = torch.zeros(())
    return StepResult(zero, torch.zeros_like(after), after, zero, torch.tensor(True))


def sampler(selection, n=10, batch_size=4, **kwargs):
    return SelectiveBatchSampler(SequentialSampler(range(n)), batch_size, selection, **kwargs)


def run_epoch(batches, epoch, score=float):
    batches.set_epoch(epoch)
    seen = []
    for indices in batches:
        seen.append(indices)
        batches.record(result(*(score(i) for i in indices)))
    return seen


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
    batches = sampler(GradientNormSelection(10))
    assert [len(b) for b in run_epoch(batches, 0)] == [4, 4, 2]
    assert [len(b) for b in run_epoch(batches, 1)] == [2, 2, 2]


def test_draws_are_a_function_of_seed_epoch_and_rank():
    def draw(*key):
        return torch.rand(4, generator=epoch_generator(*key)).tolist()

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
    selection = GradientNormSelection(40)
    batches = SelectiveBatchSampler(RandomSampler(data), 8, selection)
    loader = DataLoader(data, batch_sampler=batches, num_workers=workers)
    for epoch in range(3):
        batches.set_epoch(epoch)
        for (x,) in loader:
            batches.record(result(*x.tolist()))
    assert torch.equal(selection.scores.of(torch.arange(40)), torch.arange(40.0))


def test_the_last_batch_of_an_epoch_makes_its_scores_count():
    batches = sampler(GradientNormSelection(10))
    run_epoch(batches, 0)
    assert batches.selection.scores.of(torch.arange(10)).tolist() == list(range(10))


def test_an_epoch_that_was_left_early_counts_when_the_next_begins():
    batches = sampler(GradientNormSelection(10))
    batches.set_epoch(0)
    batches.record(result(*map(float, next(iter(batches)))))
    batches.set_epoch(1)
    assert batches.selection.scores.of(torch.arange(5)).tolist()[:4] == [0, 1, 2, 3]


def test_a_resumed_sampler_draws_what_the_uninterrupted_one_draws(tmp_path):
    whole = sampler(GradientNormSelection(10), seed=5)
    run_epoch(whole, 0), run_epoch(whole, 1)
    torch.save(whole.state_dict(), tmp_path / "s.pt")
    resumed = sampler(GradientNormSelection(10), seed=0)
    resumed.load_state_dict(torch.load(tmp_path / "s.pt", weights_only=True))
    for epoch in (2, 3):
        assert run_epoch(resumed, epoch) == run_epoch(whole, epoch)


def test_another_setting_is_not_resumed():
    state = sampler(GradientNormSelection(10, alpha=0.5)).state_dict()
    with pytest.raises(AusamError, match="alpha was 0.5 and is 0.75"):
        sampler(GradientNormSelection(10, alpha=0.75)).load_state_dict(copy.deepcopy(state))
    with pytest.raises(AusamError, match="selection was 'gradient_norm' and is 'uniform'"):
        sampler(UniformSelection(10)).load_state_dict(state)


def test_the_epoch_is_handed_on_to_a_distributed_sampler():
    inner = DistributedSampler(range(8), num_replicas=2, rank=1)
    batches = SelectiveBatchSampler(inner, 4, AllSamples())
    batches.set_epoch(1)
    first = list(batches)
    batches.set_epoch(2)
    assert first != list(batches) and len(batches) == 1


def test_recording_more_than_was_loaded_is_an_error_in_one_sentence():
    batches = sampler(GradientNormSelection(10))
    with pytest.raises(AusamError, match="more often than batches were loaded"):
        batches.record(result(1.0))


def test_a_batch_of_which_nothing_can_be_kept_is_refused():
    with pytest.raises(AusamError, match="less than one sample; use a batch of at least 5"):
        sampler(GradientNormSelection(10, alpha=0.2))
    with pytest.raises(AusamError, match="batch_size must be 1 or more"):
        sampler(AllSamples(), batch_size=0)
