"""Choosing before loading trains what choosing in the loop trains, and loads no more."""

from __future__ import annotations

import functools

import pytest
import torch
from torch.utils.data import SequentialSampler

from ausam_core.mmengine import SelectiveBatchSampler
from tests.ausam_core.mmengine.tiny import (
    HALF,
    Points,
    Probe,
    augment,
    hook_of,
    make_runner,
    pack,
    same,
    state_of,
    train,
)

SELECTIONS = {
    "AUSAM": HALF,
    "AUSAM-1": {**HALF, "estimate": "latest", "alpha": 0.4},
    "uniform": dict(type="UniformSelection", alpha=0.5),
}


@functools.cache
def run(name: str, form: str, workers: int, directory):
    """Three epochs over 22 samples: the last batch of an epoch is short."""
    probe = Probe()
    chosen = SELECTIONS[name]
    before = form == "before loading"
    runner = train(
        directory,
        selection=chosen if before else None,
        hooks=[dict(type="AUSAMHook", **({} if before else dict(selection=chosen))), probe],
        pipeline=[augment, pack],
        workers=workers,
        size=22,
        epochs=3,
    )
    return runner, probe


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


FORMS = [("in the loop", 2), ("before loading", 0), ("before loading", 2)]


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize(("form", "workers"), FORMS)
def test_before_loading_equals_in_the_loop_to_the_bit(name, form, workers, directory):
    reference, expected = run(name, "in the loop", 0, directory)
    runner, probe = run(name, form, workers, directory)
    assert same(state_of(runner.model), state_of(reference.model))
    assert probe.batches == expected.batches
    assert same(probe.inputs, expected.inputs)  # augmented alike, whatever else was loaded
    assert same(
        hook_of(runner).choice.selection.state_dict(),
        hook_of(reference).choice.selection.state_dict(),
    )


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_runs_that_were_compared_did_select_and_augment(name, directory):
    runner, probe = run(name, "before loading", 0, directory)
    alpha = SELECTIONS[name]["alpha"]
    kept = [max(1, int(alpha * 8)), max(1, int(alpha * 8)), max(1, int(alpha * 6))]
    first = kept if name == "uniform" else [8, 8, 6]
    assert [len(b) for b in probe.batches] == first + kept + kept
    epochs = [set(sum(probe.batches[i : i + 3], [])) for i in (0, 3, 6)]
    assert epochs[1] != epochs[2]
    of = {
        i: x
        for b, xs in zip(probe.batches[:3], probe.inputs[:3], strict=True)
        for i, x in zip(b, xs, strict=True)
    }
    later = {
        i: x
        for b, xs in zip(probe.batches[6:], probe.inputs[6:], strict=True)
        for i, x in zip(b, xs, strict=True)
    }
    both = of.keys() & later.keys()
    assert both and all(not torch.equal(of[i], later[i]) for i in both)


def test_the_loader_is_as_long_as_without_selection(tmp_path):
    lengths = {
        len(make_runner(tmp_path, size=22, selection=s).build_dataloader(loader(s)))
        for s in (None, HALF, {**HALF, "alpha": 0.3})
    }
    assert lengths == {3}


def loader(selection, **batch_sampler):
    config = dict(
        batch_size=8,
        dataset=dict(type=Points, size=22),
        sampler=dict(type="DefaultSampler", shuffle=True),
    )
    if selection is not None:
        config["batch_sampler"] = dict(
            type="SelectiveBatchSampler", selection=selection, **batch_sampler
        )
    return config


def test_drop_last_belongs_into_the_batch_sampler(tmp_path):
    runner = make_runner(tmp_path)
    built = runner.build_dataloader(loader(HALF, drop_last=True), seed=4)
    assert len(built) == 2
    built.batch_sampler.attend()
    assert [len(b) for b in built.batch_sampler] == [8, 8]


def test_what_is_not_trained_is_not_loaded(tmp_path):
    loaded = []

    def count(info):
        loaded.append(info["sample_idx"])
        return info

    probe = Probe()
    train(
        tmp_path,
        selection=HALF,
        hooks=[dict(type="AUSAMHook"), probe],
        pipeline=[count, pack],
        epochs=3,
    )
    assert loaded == sum(probe.batches, [])
    assert len(loaded) == 24 + 12 + 12


def test_the_seed_of_the_run_is_the_seed_of_the_draws(tmp_path):
    def batches(seed):
        probe = Probe()
        train(
            tmp_path,
            selection=HALF,
            hooks=[dict(type="AUSAMHook"), probe],
            epochs=2,
            shuffle=False,
            randomness=dict(seed=seed),
        )
        return probe.batches[3:]

    assert batches(1) == batches(1)
    assert batches(1) != batches(2)


def test_a_sampler_that_hides_its_data_set_is_refused():
    with pytest.raises(ValueError, match="SequentialSampler does not say which data set"):
        SelectiveBatchSampler(SequentialSampler(range(4)), 2, HALF)


def test_samples_with_large_scores_are_drawn_more_often(tmp_path):
    """The one thing that all of this is for, seen from outside."""
    probe = Probe()
    runner = train(
        tmp_path,
        selection={**HALF, "s_min": 0.01},
        hooks=[dict(type="AUSAMHook"), probe],
        epochs=40,
        wrapper=dict(
            type="SAMOptimWrapper",
            optimizer=dict(type="SGD", lr=1e-4),
            method=dict(type="SAM", rho=0.1),
        ),
    )
    drawn = torch.zeros(24)
    for batch in probe.batches[9:]:
        drawn[batch] += 1
    scores = hook_of(runner).choice.selection.scores.of(torch.arange(24))
    ranks = [values.argsort().argsort().float() for values in (drawn, scores)]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.7
