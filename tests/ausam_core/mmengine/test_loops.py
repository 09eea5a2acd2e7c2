"""Compiled and uncompiled loops, loops by epochs and by iterations."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from tests.ausam_core.mmengine.tiny import HALF, flat, make_runner, same, state_of, train


@pytest.mark.parametrize("form", ["method alone", "selection"])
def test_compiled_equals_uncompiled(form, tmp_path):
    kwargs = dict(hooks=[dict(type="AUSAMHook")], selection=HALF) if form == "selection" else {}
    plain = train(tmp_path, epochs=2, **kwargs)
    torch.compiler.reset()
    compiled = train(tmp_path, epochs=2, cfg=Config(dict(compile=dict(backend="eager"))), **kwargs)
    assert hasattr(compiled.model.train_step, "_torchdynamo_orig_callable")
    torch.testing.assert_close(state_of(compiled.model), state_of(plain.model))
    assert same(state_of(compiled.model), state_of(plain.model))


def by_iterations(tmp_path, **kwargs):
    runner = make_runner(tmp_path, **kwargs)
    runner._train_dataloader["sampler"] = dict(type="InfiniteSampler", shuffle=True)
    runner._train_loop = dict(by_epoch=False, max_iters=5)
    return runner


@pytest.mark.parametrize("hooks", [[], [dict(type="AUSAMHook", alpha=1)]], ids=["none", "hook"])
def test_sam_alone_trains_by_iterations(hooks, tmp_path):
    runner = by_iterations(tmp_path, hooks=hooks)
    before = flat(runner.model)
    runner.train()
    assert runner.iter == 5
    assert not torch.equal(flat(runner.model), before)


@pytest.mark.parametrize("selection", [None, HALF], ids=["in the loop", "before loading"])
def test_a_selection_by_iterations_is_refused(selection, tmp_path):
    runner = by_iterations(tmp_path, hooks=[dict(type="AUSAMHook")], selection=selection)
    with pytest.raises(ValueError, match="IterBasedTrainLoop has no epochs.*alpha=1"):
        runner.train()
