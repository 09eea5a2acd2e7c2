"""The time that a study says it will still take."""

from types import SimpleNamespace

import pytest
from _study.progress import Progress

A_PASS = 0.5  # seconds


def ended(arm, seed, passes):
    return SimpleNamespace(
        arm=arm, seed=seed, passes=passes, seconds=passes * A_PASS, score=50.0, epochs=4
    )


@pytest.fixture
def clock():
    return SimpleNamespace(seconds=0.0)


@pytest.fixture
def progress(clock):
    """Four runs of ten minutes, two at a time, of which two have begun."""
    planned = {("sgd", seed): 600 / A_PASS for seed in range(4)}
    one = Progress(total=4, planned=planned, workers=2, now=lambda: clock.seconds)
    for seed in (0, 1):
        one.begin("sgd", seed)
    return one


def test_nothing_is_foretold_before_a_run_has_ended(progress):
    assert progress.remaining() == "time to the end not known yet"


def test_what_a_run_has_behind_it_is_not_counted_again(progress, clock):
    clock.seconds = 590
    # The other run has ten seconds to go; two wait.
    assert progress.line(ended("sgd", 0, 1200)).endswith("; 10 min to go")


def test_the_last_run_is_not_shared_by_two_workers(progress, clock):
    clock.seconds = 600
    for seed in (0, 1):
        progress.line(ended("sgd", seed, 1200))
    progress.begin("sgd", 2)
    clock.seconds = 1200
    progress.begin("sgd", 3)
    assert progress.line(ended("sgd", 2, 1200)).endswith("; 10 min to go")


def test_a_run_that_should_have_ended_does_not_take_time_off_the_others(progress, clock):
    clock.seconds = 6000
    assert progress.line(ended("sgd", 0, 1200)).endswith("; 10 min to go")
    for seed in (2, 3):
        progress.drop("sgd", seed)
    assert progress.remaining() == "under a minute to go"


def test_hours_are_told_as_hours(progress):
    progress.planned["sam", 0] = 6 * 3600 / A_PASS
    assert progress.line(ended("sgd", 0, 1200)).endswith("; about 6.0 h to go")


def test_a_run_that_failed_is_not_waited_for(progress):
    progress.done.append(ended("sam", 0, 1200))
    for seed in range(4):
        progress.drop("sgd", seed)
    assert progress.remaining() == "done"
