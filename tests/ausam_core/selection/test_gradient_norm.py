"""AUSAM's draw: the law of Eq. 9 and 10, and what happens at its edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ausam_core import AusamError, GradientNormSelection, UniformSelection
from ausam_core.batch import number_kept
from ausam_core.selection.gradient_norm import inclusion_weights
from ausam_core.selection.share import (
    draw_systematically,
    draw_without_replacement,
    inclusion_probabilities,
)

NAN = math.nan


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_scores_are_stretched_to_the_bounds():
    found = inclusion_weights(torch.tensor([2.0, 4.0, 3.0]), 0.1, 0.5)
    torch.testing.assert_close(found, torch.tensor([0.1, 0.5, 0.3]))


# Far from the smallest numbers that float32 has, where a factor rounds to another ratio.
positive = st.floats(2.0**-100, 1e3, width=32)


@given(
    scores=st.lists(st.just(0.0) | positive, min_size=2, max_size=20),
    factor=st.floats(1e-3, 1e3),
)
@settings(max_examples=50, deadline=None)
def test_weights_stay_in_their_bounds_and_do_not_see_a_common_scale(scores, factor):
    scores = torch.tensor(scores)
    found = inclusion_weights(scores, 0.1, 1.0)
    assert found.min() >= 0.1 - 1e-6 and found.max() <= 1 + 1e-6
    torch.testing.assert_close(
        found, inclusion_weights(scores * factor, 0.1, 1.0), atol=2e-3, rtol=0
    )


@pytest.mark.parametrize("scores", [[3.0, 3.0], [NAN, NAN], [0.0, 0.0], [3.0, NAN]])
def test_without_a_difference_all_have_the_same_chance(scores):
    found = inclusion_weights(torch.tensor(scores), 0.1, 1.0)
    assert found[0] == found[1] > 0


def test_a_sample_that_was_never_trained_counts_as_the_largest():
    found = inclusion_weights(torch.tensor([1.0, NAN, 2.0]), 0.1, 1.0)
    assert found[1] == found[2] == 1.0


def test_the_draw_has_the_law_of_successive_draws():
    """Against the exact probabilities of drawing 2 of 3 in proportion to 1 : 2 : 3."""
    w, draws = torch.tensor([1.0, 2.0, 3.0]), 20_000
    g = generator()
    left_out = torch.zeros(3)
    for _ in range(draws):
        kept = draw_without_replacement(w, 2, g)
        left_out[3 - int(kept.sum())] += 1
    p = [i / 6 for i in (1, 2, 3)]
    exact = []
    for out in range(3):
        a, b = (i for i in range(3) if i != out)
        exact.append(p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b]))
    torch.testing.assert_close(left_out / draws, torch.tensor(exact), atol=0.015, rtol=0)


def test_large_scores_are_trained_more_often_but_small_ones_too():
    selection = GradientNormSelection(128, alpha=0.5, s_min=0.1, s_max=1.0, start_epoch=0)
    selection.scores.record(range(128), torch.arange(128.0))
    selection.end_epoch()
    g, counts = generator(), torch.zeros(128)
    for _ in range(2000):
        counts[selection.select(torch.arange(128), 1, g)] += 1
    share = counts / 2000
    assert share.mean() == 0.5
    assert share[:8].min() > 0.08 and share[-8:].max() < 0.82
    assert share[-16:].mean() / share[:16].mean() > 3


@given(alpha=st.floats(0.05, 1), size=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_positions_are_ascending_distinct_and_as_many_as_asked_for(alpha, size):
    for selection in (
        GradientNormSelection(size, alpha, start_epoch=0),
        UniformSelection(size, alpha),
    ):
        kept = selection.select(torch.arange(size), 1, generator())
        assert len(kept) == number_kept(alpha, size) == len(set(kept.tolist()))
        assert kept.tolist() == sorted(kept.tolist()) and kept[-1] < size


@pytest.mark.parametrize(
    ("alpha", "size", "kept"),
    [
        (0.5, 128, 64),
        (0.6, 128, 76),
        (0.7, 10, 7),
        (0.5, 1, 1),
        (1, 5, 5),
        (0.5, 3, 2),
        (0.1, 2, 2),
    ],
)
def test_the_number_kept_is_rounded_down_but_never_to_what_batch_norm_refuses(alpha, size, kept):
    assert number_kept(alpha, size) == kept


@pytest.mark.parametrize(
    ("alpha", "size", "multiple_of", "kept"),
    [
        (0.5, 10, 2, 4),
        (0.5, 128, 2, 64),
        (1.0, 9, 2, 8),
        (0.1, 9, 2, 2),
        (0.5, 1, 2, 1),
        (0.5, 3, 4, 3),
    ],
)
def test_a_batch_that_is_paired_keeps_an_even_number(alpha, size, multiple_of, kept):
    assert number_kept(alpha, size, multiple_of) == kept


def test_every_draw_takes_as_much_chance_whatever_the_scores_are():
    """So a resumed run that skips batches is where the uninterrupted one is."""
    g1, g2 = generator(), generator()
    for g, weights in ((g1, torch.ones(16)), (g2, torch.rand(16) + 0.1)):
        draw_without_replacement(weights, 5, g)
    assert torch.equal(g1.get_state(), g2.get_state())


def test_s_max_rises_from_s_min_to_its_value_at_start_epoch():
    selection = GradientNormSelection(1, s_min=0.1, s_max=0.5, start_epoch=4)
    found = [selection.s_max_at(e) for e in range(6)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])


def test_selecting_does_not_depend_on_the_size_of_the_data_set():
    """The same 32 scores within 32 and within 100,000 samples: the same draw."""
    kept = []
    for n in (32, 100_000):
        selection = GradientNormSelection(n, start_epoch=30)
        selection.scores.record(range(32), torch.arange(32.0))
        selection.end_epoch()
        kept.append(selection.select(torch.arange(32), 40, generator()).tolist())
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(alpha=0), r"in \(0, 1\]; found 0"),
        (dict(alpha=1.5), r"in \(0, 1\]; found 1.5"),
        (dict(s_min=0), "found s_min=0, s_max=1.0"),
        (dict(s_min=2), "found s_min=2, s_max=1.0"),
        (dict(start_epoch=-1), "start_epoch must be 0 or more, found -1"),
        (dict(estimate="sum"), "found 'sum'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(AusamError, match=message):
        GradientNormSelection(10, **settings)


def test_without_the_length_of_the_run_a_share_of_it_is_refused_before_the_first_batch():
    with pytest.raises(AusamError, match=r"start_epoch=None of GradientNormSelection is a share"):
        GradientNormSelection(4).choose([0, 1, 2, 3], 0, generator())


@pytest.mark.parametrize(("epochs", "full"), [(200, 30), (20, 3), (1, 1)])
def test_s_max_is_reached_after_fifteen_percent_of_the_run(epochs, full):
    selection = GradientNormSelection(1)
    selection.begin_run(epochs)
    assert selection.s_max_at(full) == selection.s_max > selection.s_max_at(full - 1)


def test_a_late_start_trains_whole_batches_and_then_a_share_at_once():
    selection = GradientNormSelection(8, start=0.5)
    selection.begin_run(8)
    sizes = [len(selection.choose(list(range(8)), epoch, generator())) for epoch in range(8)]
    assert sizes == [8, 8, 8, 8, 4, 4, 4, 4]


@given(weights=st.lists(st.floats(0.01, 1), min_size=2, max_size=20), share=st.floats(0.05, 1))
@settings(max_examples=60, deadline=None)
def test_chances_are_in_proportion_up_to_one_and_sum_to_the_number_kept(weights, share):
    weights = torch.tensor(weights)
    count = number_kept(share, len(weights))
    chances = inclusion_probabilities(weights, count)
    assert chances.max() <= 1 + 1e-9 and float(chances.sum()) == pytest.approx(count)
    below = chances < 1 - 1e-9
    ratio = chances[below] / weights[below].double()
    assert below.sum() < 2 or float(ratio.max() / ratio.min()) == pytest.approx(1)
    kept = draw_systematically(chances, generator())
    assert len(set(kept.tolist())) == count and kept.tolist() == sorted(kept.tolist())


def test_a_systematic_draw_keeps_each_sample_with_exactly_its_chance():
    chances = inclusion_probabilities(torch.tensor([1.0, 2.0, 3.0, 4.0, 9.0]), 3)
    g, kept, draws = generator(), torch.zeros(5), 20_000
    for _ in range(draws):
        kept[draw_systematically(chances, g)] += 1
    torch.testing.assert_close(kept / draws, chances.float(), atol=0.015, rtol=0)


def test_importance_weights_make_the_expected_mean_that_of_the_whole_batch():
    selection = GradientNormSelection(16, importance=True, start_epoch=0)
    selection.scores.record(range(16), torch.arange(16.0))
    selection.end_epoch()
    g, losses, draws = generator(), torch.arange(16.0) ** 2, 4_000
    total = 0.0
    for _ in range(draws):
        batch = selection.choose(list(range(16)), 1, g)
        assert batch.weights.loss == "both"
        total += float((losses[batch.indices] * batch.weights.values).mean())
    assert total / draws == pytest.approx(float(losses.mean()), rel=0.02)


def test_a_sample_beyond_the_data_set_is_named():
    with pytest.raises(AusamError, match="samples 3 to 12, but the selection was made for a data"):
        GradientNormSelection(10, start_epoch=0).choose([3, 12], 1, generator())
