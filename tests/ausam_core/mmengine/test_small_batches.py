"""Batches of one sample, batches of a rest, and settings that a config may leave out."""

import pytest
import torch
from mmengine.hooks import Hook

from tests.ausam_core.mmengine.tiny import (
    HALF,
    SAM,
    Net,
    hook_of,
    state_of,
    train,
)


class TwoPasses(Hook):
    """Whether each step of each epoch had a second pass."""

    def __init__(self):
        self.seen = []

    def before_train_epoch(self, runner):
        self.seen.append([])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen[-1].append(runner.optim_wrapper.last_result.after is not None)


INFO = dict(type="InfoBatchSelection")
NORM = torch.nn.LayerNorm  # BatchNorm cannot normalise a single sample


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_loss_of_a_single_sample_is_a_vector_too(batch_size, tmp_path):
    """17 samples in batches of 8 end with a batch of one."""
    runner = train(
        tmp_path,
        model=Net(norm=NORM, loss=None),
        selection=INFO,
        hooks=[dict(type="AUSAMHook")],
        size=17,
        batch_size=batch_size,
        epochs=3,
    )
    scores = hook_of(runner).choice.selection.scores
    assert scores.of(torch.arange(17)).isfinite().all()


def test_a_single_sample_of_a_model_that_returns_a_vector_teaches_ausam(tmp_path):
    hooks = [dict(type="AUSAMHook")]
    settings = dict(selection=HALF, hooks=hooks, size=17, epochs=1)
    runner = train(tmp_path, model=Net(norm=NORM, loss=None), **settings)
    assert hook_of(runner).choice.selection.scores._count.sum() == 17


def test_info_batch_needs_no_schedule(tmp_path):
    hooks = [dict(type="AUSAMHook")]
    runner = train(tmp_path, model=Net(loss=None), selection=INFO, hooks=hooks, epochs=2)
    assert runner.param_schedulers is None and runner.epoch == 2


def test_info_batch_and_a_late_method_begin_with_the_same_epoch(tmp_path):
    """It makes fewer updates than were planned, so their count would not do."""
    wrapper = dict(SAM, method=dict(type="SAM", rho=0.1, start=0.75))
    runner = train(
        tmp_path,
        model=Net(loss=None),
        wrapper=wrapper,
        selection=dict(INFO, delta=1.0),
        hooks=[dict(type="AUSAMHook"), TwoPasses()],
        epochs=8,
    )
    epochs = [hook.seen for hook in runner.hooks if isinstance(hook, TwoPasses)][0]
    assert runner.optim_wrapper.method.updates < 24
    assert [all(e) for e in epochs] == [False] * 6 + [True] * 2
    assert not any(any(e) for e in epochs[:6])


def test_statistics_are_estimated_from_whole_batches(tmp_path):
    """25 samples in batches of 8 leave one, which has no variance."""
    runner = train(
        tmp_path,
        hooks=[dict(type="BatchNormReestimationHook", compare=False)],
        size=25,
        loader=dict(drop_last=True),
        val=True,
    )
    assert all(b.isfinite().all() for b in state_of(runner.model).values())


def test_loading_leaves_the_state_as_it_was(tmp_path):
    runner = train(tmp_path)
    state = runner.optim_wrapper.state_dict()
    runner.optim_wrapper.load_state_dict(state)
    assert "method" in state
