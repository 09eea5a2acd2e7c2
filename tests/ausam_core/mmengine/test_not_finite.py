"""A batch that is not finite is skipped without a trace; many in a row stop the run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ausam_core import AusamError, in_second_pass
from tests.ausam_core.mmengine.tiny import (
    HALF,
    SAM,
    SGD,
    Net,
    Probe,
    flat,
    hook_of,
    make_runner,
    pack,
    same,
    state_of,
    train,
)

BAD = 5  # the sample that is broken


def broken(value, everywhere=False):
    def put(info):
        if everywhere or info["sample_idx"] == BAD:
            info["features"] = np.full_like(info["features"], value)
        return info

    return put


OPTIMIZERS = {
    "SGD": SGD,
    "Adam": dict(type="Adam", lr=1e-2),
    "fused Adam": dict(type="Adam", lr=1e-2, fused=True),
    "fused SGD": {**SGD, "fused": True},
}


class Skips(Probe):
    """The optimizer's and the model's state around every step."""

    def __init__(self):
        super().__init__()
        self.states = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = self.everything(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.states.append((self.before, self.everything(runner)))

    @staticmethod
    def everything(runner):
        optimizer = runner.optim_wrapper.optimizer
        state = [
            {k: v.clone() if torch.is_tensor(v) else v for k, v in s.items()}
            for s in optimizer.state.values()
        ]
        return dict(weights=flat(runner.model), optimizer=state)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_broken_sample_leaves_weights_and_optimizer_as_they_were(name, value, tmp_path):
    probe = Skips()
    runner = train(
        tmp_path,
        wrapper={**SAM, "optimizer": OPTIMIZERS[name]},
        hooks=[dict(type="AUSAMHook", alpha=1), probe],
        pipeline=[broken(value), pack],
        epochs=2,
    )
    skipped = [BAD in batch for batch in probe.batches]
    assert skipped.count(True) == 2 and not skipped[0]
    for was_skipped, (before, after), result in zip(
        skipped, probe.states, probe.results, strict=True
    ):
        assert bool(result.finite) != was_skipped
        assert torch.equal(before["weights"], after["weights"]) == was_skipped
        assert same(before["optimizer"], after["optimizer"]) == was_skipped
    assert flat(runner.model).isfinite().all()
    assert runner.optim_wrapper.method.skipping.read()[0] == 2
    assert runner.message_hub.get_scalar("train/skipped").current() == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["SAM", "Base"])
def test_a_broken_sample_does_not_poison_the_running_statistics(method, value, tmp_path):
    runner = train(
        tmp_path,
        wrapper={**SAM, "method": dict(type=method)},
        hooks=[dict(type="AUSAMHook", alpha=1)],
        pipeline=[broken(value), pack],
        epochs=2,
    )
    assert all(v.isfinite().all() for v in state_of(runner.model).values())
    assert runner.model.body[1].running_mean.abs().max() > 0


@pytest.mark.parametrize("second", [False, True], ids=["pass 1", "pass 2"])
def test_a_loss_that_is_nan_in_one_pass_alone_is_skipped_too(second, tmp_path):
    calls = []

    def fault(model, loss):
        calls.append(in_second_pass())
        bad = calls.count(second) == 3 and in_second_pass() == second
        return loss * math.nan if bad else loss

    probe = Skips()
    train(tmp_path, model=Net(fault=fault), hooks=[probe], size=48)
    same_weights = [torch.equal(b["weights"], a["weights"]) for b, a in probe.states]
    assert same_weights == [False, False, True, False, False, False]


def test_under_accumulation_one_bad_batch_spoils_its_update_alone(tmp_path):
    probe = Skips()
    calls = []

    def fault(model, loss):
        calls.append(in_second_pass())
        return loss * math.nan if calls.count(False) == 3 and not calls[-1] else loss

    train(
        tmp_path,
        model=Net(fault=fault),
        wrapper={**SAM, "accumulative_counts": 2},
        hooks=[probe],
        size=64,
    )
    moved = [not torch.equal(b["weights"], a["weights"]) for b, a in probe.states]
    assert moved == [False, True, False, False, False, True, False, True]


@pytest.mark.parametrize("selection", [None, HALF], ids=["in the loop", "before loading"])
def test_a_broken_sample_gets_no_score_and_spoils_no_other(selection, tmp_path):
    hook = dict(type="AUSAMHook") if selection else dict(type="AUSAMHook", selection=HALF)
    probe = Probe()
    runner = train(
        tmp_path,
        selection=selection,
        hooks=[hook, probe],
        pipeline=[broken(math.nan), pack],
        epochs=4,
    )
    scores = hook_of(runner).choice.selection.scores.of(torch.arange(24))
    assert scores[BAD].isnan()
    clean = {i for b in probe.batches if BAD not in b for i in b}
    assert scores[sorted(clean)].isfinite().all()


@pytest.mark.parametrize("save", [False, True])
def test_many_in_a_row_stop_the_run_and_leave_the_last_good_checkpoint(save, tmp_path):
    seen = []

    def fault(model, loss):
        seen.append(in_second_pass())
        return loss * math.nan if seen.count(False) > 4 else loss

    runner = make_runner(
        tmp_path,
        model=Net(fault=fault),
        wrapper={**SAM, "method": dict(type="SAM", rho=0.1, max_skips=4)},
        hooks=[dict(type="AUSAMHook", alpha=1)],
        epochs=9,
        save=save,
    )
    with pytest.raises(AusamError, match="4 updates in a row had a loss or gradient that is NaN"):
        runner.train()
    assert runner.iter == 7  # four good ones, and the fourth bad one is the eighth
    assert flat(runner.model).isfinite().all()
    if save:
        # The second epoch had two bad batches and is good for all that; the third stopped.
        assert sorted(p.name for p in tmp_path.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]
        state = torch.load(tmp_path / "epoch_2.pth", weights_only=True)["state_dict"]
        assert all(v.isfinite().all() for v in state.values())


def test_few_in_a_row_do_not_stop_it(tmp_path):
    runner = train(
        tmp_path,
        wrapper={**SAM, "method": dict(type="SAM", rho=0.1, max_skips=2)},
        hooks=[dict(type="AUSAMHook", alpha=1)],
        pipeline=[broken(math.nan), pack],
        epochs=5,
    )
    assert runner.epoch == 5
    assert runner.optim_wrapper.method.skipping.read()[0] == 5
