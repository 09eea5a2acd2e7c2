"""Compiled and uncompiled loops, loops by epochs and by iterations."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from tests.ausam_core.mmengine.tiny import (
    HALF,
    STOCK,
    Probe,
    finish,
    flat,
    hook_of,
    make_runner,
    same,
    state_of,
    train,
)


@pytest.mark.parametrize("form", ["method alone", "selection"])
def test_compiled_equals_uncompiled(form, tmp_path):
    kwargs = dict(hooks=[dict(type="AUSAMHook")], selection=HALF) if form == "selection" else {}
    plain = train(tmp_path, epochs=2, **kwargs)
    torch.compiler.reset()
    compiled = train(tmp_path, epochs=2, cfg=Config(dict(compile=dict(backend="eager"))), **kwargs)
    assert hasattr(compiled.model.train_step, "_torchdynamo_orig_callable")
    torch.testing.assert_close(state_of(compiled.model), state_of(plain.model))
    assert same(state_of(compiled.model), state_of(plain.model))


def by_iterations(tmp_path, iterations=12, every=None, **kwargs):
    """A run whose loop counts iterations; three are a pass through the data."""
    loop = dict(by_epoch=False, max_iters=iterations)
    loader = dict(sampler=dict(type="InfiniteSampler", shuffle=True, seed=3))
    runner = make_runner(tmp_path, train_cfg=loop, loader=loader, **kwargs)
    if every:
        runner.register_hook(dict(type="CheckpointHook", by_epoch=False, interval=every))
    return runner


UNIFORM = dict(type="UniformSelection", alpha=0.5)
IN_THE_LOOP = dict(type="AUSAMHook", rho=0.1, alpha=0.5, start_epoch=1)


@pytest.mark.parametrize("hooks", [[], [dict(type="AUSAMHook", alpha=1)]], ids=["none", "hook"])
def test_sam_alone_trains_by_iterations(hooks, tmp_path):
    runner = by_iterations(tmp_path, iterations=5, hooks=hooks)
    before = flat(runner.model)
    runner.train()
    assert runner.iter == 5
    assert not torch.equal(flat(runner.model), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_by_iterations_scores_change_after_each_pass_through_the_data(workers, tmp_path):
    table, probe = [], Probe()

    class Table(Hook):
        def after_train_iter(self, runner, **kwargs):
            table.append(hook_of(runner).choice.selection.scores.of(torch.arange(24)))

    hooks = [IN_THE_LOOP, Table(), probe]
    runner = finish(by_iterations(tmp_path, wrapper=STOCK, hooks=hooks, workers=workers))
    assert [len(batch) for batch in probe.batches] == [8] * 3 + [4] * 9
    changes = [not torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairwise(table)]
    assert [i + 1 for i, changed in enumerate(changes) if changed] == [2, 5, 8]
    first = {i: d for b, r in seen(probe)[:3] for i, d in zip(b, r.difference, strict=True)}
    assert all(table[2][i] == d for i, d in first.items())
    scores = hook_of(runner).choice.selection.scores
    assert int(scores._count.sum()) == sum(len(batch) for batch in probe.batches)


def seen(probe):
    return list(zip(probe.batches, probe.results, strict=True))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_share_of_the_run_is_one_of_its_iterations(accumulate, tmp_path):
    probe = Probe()
    hook = dict(type="AUSAMHook", rho=0.1, selection=UNIFORM, start=0.5)
    wrapper = {**STOCK, "accumulative_counts": accumulate}
    runner = finish(by_iterations(tmp_path, wrapper=wrapper, hooks=[hook, probe]))
    assert [len(batch) for batch in probe.batches] == [8] * 6 + [4] * 6
    assert [r.grad_norm is not None for r in probe.results] == [False] * 6 + [True] * 6
    assert runner.optim_wrapper.method.cost.passes == 12 * 8


@pytest.mark.parametrize("hook", [{**IN_THE_LOOP}, dict(type="AUSAMHook", selection=UNIFORM)])
def test_a_run_by_iterations_resumed_after_a_pass_is_the_run_that_never_stopped(hook, tmp_path):
    def run(folder, probe, **kwargs):
        hooks = [copy.deepcopy(hook), probe]
        return finish(by_iterations(folder, wrapper=STOCK, hooks=hooks, every=6, **kwargs))

    probes = [Probe(), Probe()]
    whole = run(tmp_path / "whole", probes[0])
    saved = str(tmp_path / "whole/iter_6.pth")
    resumed = run(tmp_path / "resumed", probes[1], resume=True, load_from=saved)
    assert probes[1].batches == probes[0].batches[6:]
    assert same(state_of(resumed.model), state_of(whole.model))


def test_in_the_middle_of_a_pass_a_draw_by_chance_resumes_too(tmp_path):
    hook, probes = dict(type="AUSAMHook", selection=UNIFORM), [Probe(), Probe()]
    settings = dict(wrapper=STOCK, every=4)
    finish(by_iterations(tmp_path / "whole", hooks=[hook, probes[0]], **settings))
    saved = str(tmp_path / "whole/iter_4.pth")
    settings |= dict(resume=True, load_from=saved)
    finish(by_iterations(tmp_path / "resumed", hooks=[hook, probes[1]], **settings))
    assert probes[1].batches == probes[0].batches[4:]


INFO = dict(type="AUSAMHook", selection=dict(type="InfoBatchSelection"))


@pytest.mark.parametrize(
    ("hook", "selection", "says"),
    [
        (dict(type="AUSAMHook"), HALF, "SelectiveBatchSampler plans a whole one; give"),
        (INFO, None, "InfoBatchSelection plans a whole one"),
    ],
    ids=["before loading", "InfoBatch"],
)
def test_what_plans_an_epoch_is_refused_by_iterations(hook, selection, says, tmp_path):
    runner = by_iterations(tmp_path, hooks=[hook], selection=selection)
    with pytest.raises(ValueError, match=f"IterBasedTrainLoop has no epochs, and {says}"):
        runner.train()


def test_a_loop_of_another_kind_is_refused_by_name(tmp_path):
    class OwnLoop(IterBasedTrainLoop.__base__):
        iter, epoch, max_epochs, max_iters = 0, 0, 1, 3

        def run(self):
            raise AssertionError("it never begins")

    runner = make_runner(tmp_path, hooks=[dict(type="AUSAMHook", selection=UNIFORM)])
    runner.build_train_loop = lambda loop: OwnLoop(runner, runner._train_dataloader)
    with pytest.raises(ValueError, match="OwnLoop is neither a loop by epochs nor one by iter"):
        runner.train()
