"""The costs of a step are found again in the times that they make."""

import pytest
from _benchmark.fit import Fit, Step, describe, fit, passes_of
from hypothesis import given
from hypothesis import strategies as st

RUNS = [(n, b) for size in (32, 64, 128) for n, b in ((1, size), (2, size), (2, size / 2))]
cost = st.floats(0.01, 100)


@given(cost, cost, cost)
def test_exact_times_give_back_their_costs(once, per_pass, per_sample):
    truth = Fit(once, per_pass, per_sample, 0.0)
    found = fit([Step(n, b, truth.ms(n, b)) for n, b in RUNS])
    assert found.error < 1e-9
    for n, b in RUNS:
        assert found.ms(n, b) == pytest.approx(truth.ms(n, b))
    assert found.once == pytest.approx(once, rel=1e-4)
    assert found.per_pass == pytest.approx(per_pass, rel=1e-4)
    assert found.per_sample == pytest.approx(per_sample, rel=1e-4)


@pytest.mark.parametrize(
    "runs", [RUNS[:2], [(1, 32), (1, 64), (1, 128)], [(1, 32), (2, 32), (2, 32)]]
)
def test_runs_that_do_not_tell_the_costs_apart_give_none(runs):
    assert fit([Step(n, b, 1.0 + n * b) for n, b in runs]) is None


def test_the_sentence_says_what_the_costs_leave_of_the_limit():
    assert "2.00 x SAM" in describe(Fit(0.0, 0.0, 1.0, 0.0), 128)
    assert "1.00 x SAM" in describe(Fit(5.0, 5.0, 0.0, 0.0), 128)


@pytest.mark.parametrize(
    "name, passes",
    [("sgd", 1), ("sam", 2), ("ausam", 2), ("ausam-0.5", 2), ("ausam-0.5_looksam-5", None)]
    + [("float", None), ("esam", None)],
)
def test_passes_are_known_where_every_step_has_as_many(name, passes):
    assert passes_of(name) == passes
