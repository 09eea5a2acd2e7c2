"""A run that was killed and resumed is the run that was never killed, to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from shutil import copytree

import pytest
import torch

from ausam_core.mmengine import AUSAMHook
from ausam_core.random_state import capture_random_state
from tests.ausam_core.mmengine.killed import CASES, folder, make
from tests.ausam_core.mmengine.tiny import (
    HALF,
    REPOSITORY,
    Net,
    Probe,
    finish,
    flat,
    hook_of,
    lines_of,
    make_runner,
    resume_hook_of,
    same,
    state_of,
    train,
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Directories of runs that ended by ``kill -9`` in the middle of epoch 3."""
    directory = tmp_path_factory.mktemp("killed")
    log = directory / "log"
    with log.open("w") as output:  # a pipe would stay open until the orphaned workers notice
        done = subprocess.run(
            [sys.executable, "-m", "tests.ausam_core.mmengine.killed", str(directory)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=output,
            stderr=output,
            timeout=300,
        )
    assert done.returncode == 0, log.read_text()[-3000:]
    return directory


@pytest.mark.parametrize("name", CASES)
def test_killed_and_resumed_equals_never_killed(name, killed, tmp_path):
    directory = copytree(folder(killed, name), tmp_path / "killed")
    assert sorted(p.name for p in directory.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]
    probes = [Probe(), Probe()]
    whole = make(name, tmp_path, probes[0])
    finish(whole)
    resumed = make(name, directory, probes[1], resume=True)
    finish(resumed)

    assert len(probes[0].batches) == 12 and len(probes[1].batches) == 6
    assert probes[1].batches == probes[0].batches[6:]
    assert same(probes[1].inputs, probes[0].inputs[6:])
    assert same(probes[1].weights, probes[0].weights[6:])
    assert same(state_of(resumed.model), state_of(whole.model))
    assert same(resumed.optim_wrapper.state_dict(), whole.optim_wrapper.state_dict())
    assert same(
        hook_of(resumed).choice.selection.state_dict(),
        hook_of(whole).choice.selection.state_dict(),
    )
    assert same(resume_hook_of(resumed)._state, resume_hook_of(whole)._state)
    assert same(
        [s.state_dict() for s in resumed.param_schedulers],
        [s.state_dict() for s in whole.param_schedulers],
    )


def test_killed_after_its_last_checkpoint_it_ends_with_the_same_random_state(tmp_path):
    """Nothing is left to train, so no epoch restores what the evaluation of the last one moved."""
    settings = dict(
        model=Net(dropout=0.3), hooks=[dict(type="AUSAMHook")], selection=HALF, val=True, save=True
    )
    train(tmp_path, epochs=2, **settings)
    expected = capture_random_state()
    resumed = train(tmp_path, epochs=2, resume=True, **settings)
    assert resumed.epoch == 2 and resumed.iter == 6
    assert same(capture_random_state(), expected)


def test_dropout_and_augmentation_would_have_shown_a_difference(killed, tmp_path):
    """Without exact_resume the same comparison fails; so it can fail."""
    name = "before loading"
    runs = []
    copy = copytree(folder(killed, name), tmp_path / "killed")
    for resume, directory in ((False, tmp_path), (True, copy)):
        probe = Probe()
        runner = make(name, directory, probe, resume=resume)
        hook_of(runner)._exact_resume = False
        finish(runner)
        runs.append(probe)
    assert len(runs[0].weights[6:]) == len(runs[1].weights) == 6
    assert not same(runs[0].weights[6:], runs[1].weights)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of one epoch."""
    directory = tmp_path_factory.mktemp("saved")
    train(directory, selection=HALF, hooks=[dict(type="AUSAMHook")], save=True)
    return directory / "epoch_1.pth"


RESUMES = {
    "another data set size": (
        dict(selection=HALF, size=30),
        "of a data set of 24 samples, but this one has 30",
    ),
    "another alpha": (
        dict(selection={**HALF, "alpha": 0.6}),
        r"selected samples otherwise \(alpha was 0.5 and is 0.6\)",
    ),
    "another estimate": (
        dict(selection={**HALF, "estimate": "latest"}),
        "estimated by 'mean', but 'latest' is configured",
    ),
    "another selection": (
        dict(selection=dict(type="UniformSelection", alpha=0.5)),
        "selection was 'gradient_norm' and is 'uniform'",
    ),
}


@pytest.mark.parametrize("name", RESUMES)
def test_resuming_otherwise_is_refused(name, checkpoint, tmp_path):
    settings, words = RESUMES[name]
    runner = make_runner(
        tmp_path,
        hooks=[dict(type="AUSAMHook")],
        resume=True,
        load_from=str(checkpoint),
        epochs=2,
        **settings,
    )
    with pytest.raises(ValueError, match=words):
        runner.train()


@pytest.mark.parametrize("name", RESUMES)
def test_starting_anew_from_the_weights_alone_is_not(name, checkpoint, tmp_path):
    settings, _ = RESUMES[name]
    probe = Probe()
    model = Net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    runner = train(
        tmp_path,
        model=model,
        hooks=[AUSAMHook(), probe],
        load_from=str(checkpoint),
        wrapper=dict(type="SAMOptimWrapper", optimizer=dict(type="SGD", lr=0.0)),
        **settings,
    )
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(runner.model.head.weight, saved["head.weight"])
    assert runner.epoch == 1
    scores = getattr(hook_of(runner).choice.selection, "scores", None)
    if scores is not None:
        assert scores.of(torch.arange(24)).isfinite().all()


def test_a_checkpoint_of_a_run_without_the_hook_resumes_with_a_warning(tmp_path):
    train(tmp_path, save=True)
    runner = make_runner(
        tmp_path, selection=HALF, hooks=[dict(type="AUSAMHook")], resume=True, epochs=3
    )
    lines = lines_of(runner)
    before = flat(runner.model)
    runner.train()
    assert [line for line in lines if "not written with AUSAMHook" in line]
    assert runner.epoch == 3 and runner.iter == 9
    assert not torch.equal(flat(runner.model), before)


def test_a_checkpoint_of_ours_continues_under_the_stock_wrapper(checkpoint, tmp_path):
    runner = train(
        tmp_path,
        wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
        resume=True,
        load_from=str(checkpoint),
        epochs=2,
    )
    assert runner.epoch == 2
