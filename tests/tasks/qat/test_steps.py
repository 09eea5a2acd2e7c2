"""What a step is, and its first value: the one with the smallest squared error."""

import pytest
import torch

from tasks.qat.grid import Grid
from tasks.qat.steps import FLOOR, best_step, is_step, to_codes

WEIGHTS = torch.randn(8, 64, 3, 3, generator=torch.Generator().manual_seed(0))


def error(values, step, grid):
    view = step if step.dim() == 0 else step.view(-1, 1, 1, 1)
    return float((to_codes(values, step, grid) * view - values).square().mean())


def test_at_two_bits_it_beats_the_start_of_lsq_by_a_third_on_gaussian_weights():
    grid = Grid(2, True)
    best = best_step(WEIGHTS, grid, channels=True)
    lsq = 2 * WEIGHTS.abs().mean() / grid.high**0.5  # as the paper of LSQ starts
    ours, theirs = error(WEIGHTS, best, grid), error(WEIGHTS, lsq, grid)
    assert ours < 0.72 * theirs  # 0.150 of the variance against 0.221
    assert best.mean() == pytest.approx(1.04, abs=0.04)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("channels", [True, False])
def test_no_other_step_is_better_by_more_than_the_spacing_of_the_search(bits, channels):
    grid = Grid(bits, True)
    best = best_step(WEIGHTS, grid, channels=channels)
    assert best.shape == ((8,) if channels else ())
    least = min(error(WEIGHTS, best * f, grid) for f in torch.linspace(0.3, 3, 200).tolist())
    assert error(WEIGHTS, best, grid) < 1.05 * least


def test_activations_get_a_step_that_cuts_off_the_tail():
    values = WEIGHTS.relu()
    step = best_step(values, Grid(4, False), channels=False)
    assert 0.3 * float(values.max()) < 15 * float(step) < float(values.max())


def test_a_channel_of_zeros_keeps_them_and_its_step_is_positive():
    weights = WEIGHTS.clone()
    weights[3] = 0.0
    step = best_step(weights, Grid(2, True), channels=True)
    assert (step > 0).all()
    assert not to_codes(weights, step, Grid(2, True))[3].any()


def test_a_channel_that_weight_decay_has_shrunk_to_nothing_gets_a_step_at_the_floor():
    weights = WEIGHTS.clone()
    weights[3] *= 1e-12
    step = best_step(weights, Grid(2, True), channels=True)
    assert step[3] == FLOOR and not to_codes(weights, step, Grid(2, True))[3].any()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("step", True),
        ("body.conv1.step", True),
        ("body.twostep", False),
        ("stepwise.weight", False),
    ],
)
def test_a_step_is_told_by_the_last_part_of_its_name(name, expected):
    assert is_step(name) == expected


def test_codes_of_bf16_weights_are_those_of_their_fp32_values():
    weights = WEIGHTS.bfloat16()
    step = torch.tensor(0.03)
    assert torch.equal(
        to_codes(weights, step, Grid(8, True)), to_codes(weights.float(), step, Grid(8, True))
    )
