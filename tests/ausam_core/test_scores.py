"""The memory of the samples: right averages, small, and unaffected by bad numbers."""

import math

import pytest
import torch

from ausam_core import AusamError, Scores


def after(scores, *epochs):
    for epoch in epochs:
        for indices, values in epoch:
            scores.record(indices, torch.tensor(values))
        scores.merge()
    return scores.of(torch.arange(scores.num_samples))


def test_the_mean_is_over_the_visits_of_a_sample():
    found = after(Scores(3), [([0, 1], [1.0, 5.0])], [([0], [2.0])], [([0], [6.0])])
    assert found[:2].tolist() == [3.0, 5.0] and found[2].isnan()


def test_the_latest_replaces_what_was_before_and_unvisited_samples_keep_theirs():
    found = after(Scores(3, "latest"), [([0, 1], [1.0, 5.0])], [([0], [2.0])])
    assert found[:2].tolist() == [2.0, 5.0] and found[2].isnan()


@pytest.mark.parametrize("estimate", ["mean", "latest"])
def test_scores_do_not_change_within_an_epoch(estimate):
    scores = Scores(2, estimate)
    scores.record([0], torch.tensor([1.0]))
    assert scores.of(torch.tensor([0])).isnan()
    scores.merge()
    assert scores.of(torch.tensor([0])) == 1


@pytest.mark.parametrize("estimate", ["mean", "latest"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_observations_that_are_not_finite_leave_the_old_score(estimate, bad):
    found = after(Scores(2, estimate), [([0, 1], [1.0, 2.0])], [([0, 1], [bad, 4.0])])
    assert found[0] == 1.0 and math.isfinite(found[1])


def test_many_batches_are_joined_without_losing_any():
    n = 1000
    scores = Scores(n)
    for i in range(n):
        scores.record([i], torch.tensor([float(i)]))
    assert len(scores._pending_values) < 300
    scores.merge()
    assert torch.equal(scores.of(torch.arange(n)), torch.arange(n, dtype=torch.float32))


def test_ten_million_samples_cost_at_most_twelve_bytes_each():
    n = 10_000_000
    assert Scores(n).nbytes <= 12 * n
    assert Scores(n, "latest").nbytes <= 12 * n


@pytest.mark.parametrize("estimate", ["mean", "latest"])
def test_a_state_goes_on_to_the_bit_and_loads_safely(estimate, tmp_path):
    scores, again = Scores(4, estimate), Scores(4, estimate)
    after(scores, [([0, 1, 2], [0.1, 0.2, 0.3])])
    torch.save(scores.state_dict(), tmp_path / "scores.pt")
    again.load_state_dict(torch.load(tmp_path / "scores.pt", weights_only=True))
    epoch = [([1, 3], [0.7, 0.9])]
    assert torch.equal(after(scores, epoch)[[0, 1, 2, 3]], after(again, epoch)[[0, 1, 2, 3]])


def test_an_interrupted_epoch_is_not_in_the_state():
    scores = Scores(2)
    scores.record([0], torch.tensor([1.0]))
    again = Scores(2)
    again.load_state_dict(scores.state_dict())
    again.merge()
    assert again.of(torch.tensor([0])).isnan()


def test_the_state_of_another_data_set_or_estimate_is_refused():
    with pytest.raises(AusamError, match="of 3 samples, but this one has 2"):
        Scores(2).load_state_dict(Scores(3).state_dict())
    with pytest.raises(AusamError, match="'latest', but 'mean'"):
        Scores(2).load_state_dict(Scores(2, "latest").state_dict())


def test_one_loss_for_each_sample_is_demanded():
    with pytest.raises(AusamError, match="2 samples were chosen, but the step gave 3 losses"):
        Scores(4).record([0, 1], torch.ones(3))


def test_bad_settings_are_refused():
    with pytest.raises(AusamError, match="at least one sample"):
        Scores(0)
    with pytest.raises(AusamError, match="AUSAM-1"):
        Scores(2, "median")
