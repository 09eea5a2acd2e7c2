"""The selections that were tried against chance."""

import pytest
import torch

from ausam_core.step_result import StepResult
from studies.shared.trials import EasiestSelection, HardestFirstSelection, RisingSelection

SAMPLES = 6
CHANGES = torch.tensor([3.0, -4.0, 0.5, 0.0, -1.0, 2.0])


def taught(kind, **settings):
    selection, before = kind(SAMPLES, start_epoch=0, **settings), torch.full((SAMPLES,), 5.0)
    result = StepResult(before.mean(), before, before + CHANGES, None, torch.tensor(True))
    selection.record(range(SAMPLES), result)
    selection.end_epoch()
    return selection


@pytest.mark.parametrize(
    ("kind", "scores"),
    [(RisingSelection, CHANGES), (EasiestSelection, -CHANGES.abs())],
)
def test_a_score_is_what_its_name_says(kind, scores):
    torch.testing.assert_close(taught(kind).scores.of(torch.arange(SAMPLES)), scores)


@pytest.mark.parametrize(("kind", "likeliest"), [(RisingSelection, 0), (EasiestSelection, 3)])
def test_the_largest_score_is_chosen_most_often(kind, likeliest):
    selection, generator = taught(kind, s_min=0.01), torch.Generator().manual_seed(0)
    counts = torch.zeros(SAMPLES)
    for _ in range(2000):
        counts[selection.select(torch.arange(SAMPLES), 1, generator)] += 1
    assert counts.argmax() == likeliest


def test_hardest_first_chooses_by_chance_and_sorts_by_score():
    selection, generator = taught(HardestFirstSelection), torch.Generator().manual_seed(0)
    scores, counts = CHANGES.abs(), torch.zeros(SAMPLES)
    for _ in range(4000):
        kept = selection.select(torch.arange(SAMPLES), 1, generator)
        assert (scores[kept].diff() <= 0).all()
        counts[kept] += 1
    assert (counts - 2000).abs().max() < 4 * (4000 * 0.25) ** 0.5


def test_samples_without_a_score_come_first():
    selection = HardestFirstSelection(SAMPLES, alpha=1.0, start_epoch=0)
    selection.record([0, 1], StepResult(*[torch.ones(2)] * 4, torch.tensor(True)))
    selection.end_epoch()
    kept = selection.select(torch.arange(SAMPLES), 1, torch.Generator().manual_seed(0))
    assert sorted(kept[:4].tolist()) == [2, 3, 4, 5]
