"""One line of ``custom_hooks`` is AUSAM; and what stands in the log is true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from ausam_core import in_second_pass
from ausam_core.mmengine import SAMOptimWrapper
from tests.ausam_core.mmengine.tiny import (
    HALF,
    SAM,
    SGD,
    STOCK,
    Net,
    Points,
    Probe,
    augment,
    flat,
    hook_of,
    lines_of,
    make_runner,
    pack,
    same,
    state_of,
    train,
)


def scalars(runner) -> list[dict]:
    """The lines of the log that hold a loss."""
    file = next(Path(runner.work_dir).glob("*/vis_data/scalars.json"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in lines if "loss" in line]


@pytest.mark.parametrize(
    "settings", [dict(), dict(accumulative_counts=2), dict(clip_grad=dict(max_norm=0.1))]
)
def test_the_hook_on_a_stock_wrapper_equals_the_explicit_wrapper_to_the_bit(settings, tmp_path):
    hooked = train(
        tmp_path,
        wrapper={**STOCK, **settings},
        hooks=[dict(type="AUSAMHook", rho=0.1, alpha=1)],
        epochs=2,
    )
    explicit = train(tmp_path, wrapper={**SAM, **settings}, epochs=2)
    assert type(hooked.optim_wrapper) is SAMOptimWrapper
    assert same(state_of(hooked.model), state_of(explicit.model))
    assert same(
        hooked.optim_wrapper.optimizer.state_dict(), explicit.optim_wrapper.optimizer.state_dict()
    )


def test_the_promotion_keeps_learning_rate_schedules(tmp_path):
    """Schedulers put their counter on the wrapper's step before the hook comes."""
    schedule = [dict(type="MultiStepLR", by_epoch=False, milestones=[2, 4], gamma=0.1)]
    runs = [
        train(tmp_path, wrapper=w, hooks=h, epochs=2, param_scheduler=schedule)
        for w, h in ((STOCK, [dict(type="AUSAMHook", rho=0.1, alpha=1)]), (SAM, []))
    ]
    rates = [run.optim_wrapper.optimizer.param_groups[0]["lr"] for run in runs]
    assert rates[0] == rates[1] == pytest.approx(1e-3)
    assert same(*(state_of(run.model) for run in runs))


@pytest.mark.parametrize("form", ["selection in the loader", "select in the loop"])
def test_alpha_one_equals_sam_to_the_bit(form, tmp_path):
    whole = {**HALF, "alpha": 1.0}
    if form == "selection in the loader":
        ours = train(tmp_path, selection=whole, hooks=[dict(type="AUSAMHook")], epochs=3)
    else:
        ours = train(tmp_path, hooks=[dict(type="AUSAMHook", selection=whole)], epochs=3)
    sam = train(tmp_path, epochs=3)
    assert same(state_of(ours.model), state_of(sam.model))
    assert hook_of(ours).choice.selection.scores.of(torch.arange(24)).isfinite().all()


def test_the_weights_that_the_moving_average_sees_are_never_perturbed(tmp_path):
    still = dict(optimizer=dict(type="SGD", lr=0.0))
    model = Net()
    start = state_of(model)
    runner = train(
        tmp_path,
        model=model,
        wrapper={**SAM, **still, "method": dict(type="SAM", rho=1.0)},
        hooks=[dict(type="EMAHook", momentum=0.5, update_buffers=True)],
        epochs=2,
    )
    averaged = next(h for h in runner.hooks if type(h).__name__ == "EMAHook").ema_model.module
    weights = dict(averaged.named_parameters())
    assert all(torch.equal(weights[k], start[k]) for k in weights)
    assert averaged.body[1].running_mean.abs().max() > 0


def test_the_moving_average_of_a_run_is_that_of_its_weights(tmp_path):
    probe = Probe()
    model = Net()
    expected = flat(model)
    runner = train(tmp_path, model=model, hooks=[dict(type="EMAHook", momentum=0.25), probe])
    averaged = next(h for h in runner.hooks if type(h).__name__ == "EMAHook").ema_model.module
    for step, weights in enumerate(probe.weights):
        expected = weights if step == 0 else 0.75 * expected + 0.25 * weights
    torch.testing.assert_close(flat(averaged), expected)


def test_the_log_says_how_fast_and_on_what_it_trains(tmp_path):
    probe = Probe()
    runner = train(
        tmp_path,
        selection={**HALF, "start_epoch": 2},
        hooks=[dict(type="AUSAMHook"), probe],
        epochs=4,
        size=32,
        wrapper={**SAM, "accumulative_counts": 2},
    )
    lines = scalars(runner)
    assert len(lines) == 16
    names = ("images_per_s", "trained_per_s", "share_trained", "sam_grad_norm", "s_max")
    assert all(name in line for line in lines for name in names)
    assert [line["share_trained"] for line in lines] == [1.0] * 4 + [0.5] * 12
    assert [line["s_max"] for line in lines[::4]] == pytest.approx([0.1, 0.55, 1.0, 1.0])
    for line in lines:
        share = line["trained_per_s"] / line["images_per_s"]
        assert share == pytest.approx(line["share_trained"])
        assert line["images_per_s"] > 0
    for line, result in zip(lines, probe.results, strict=True):
        assert line["difference"] == pytest.approx(result.difference.mean().item(), rel=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_logged_norm_is_that_of_the_gradient_of_the_loss(accumulate, tmp_path):
    true = []

    class Gradient(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            model = runner.model
            statistics = [b.clone() for b in model.buffers()]
            model.zero_grad() if accumulate == 1 else None
            loss = model(**data_batch, mode="loss")["loss"]
            gradient = torch.autograd.grad(loss, list(model.parameters()))
            true.append(torch.cat([g.flatten() for g in gradient]).norm().item())
            for buffer, then in zip(model.buffers(), statistics, strict=True):
                buffer.copy_(then)

    runner = train(
        tmp_path,
        hooks=[dict(type="AUSAMHook", alpha=1), Gradient()],
        epochs=2,
        wrapper={**SAM, "accumulative_counts": accumulate},
    )
    # MMEngine prints the mean of the last ten of whatever is called grad_norm.
    logged = runner.message_hub.get_scalar("train/sam_grad_norm")._log_history
    assert len(logged) == 6
    assert list(logged) == pytest.approx(true, rel=1e-3)


def test_nothing_is_logged_between_the_lines_of_the_log(tmp_path):
    runner = train(tmp_path, hooks=[dict(type="AUSAMHook")], interval=3, size=64, wrapper=STOCK)
    history = runner.message_hub.log_scalars
    assert len(history["train/loss"]._log_history) == 8
    assert len(history["train/sam_grad_norm"]._log_history) == 2
    assert len(history["train/images_per_s"]._log_history) == 2


def test_a_model_that_returns_a_vector_of_losses_needs_no_handler(tmp_path):
    runs = [
        train(
            tmp_path, model=Net(loss=loss), selection=HALF, hooks=[dict(type="AUSAMHook")], epochs=3
        )
        for loss in ("cross entropy", None)
    ]
    scores = [hook_of(r).choice.selection.scores.of(torch.arange(24)) for r in runs]
    assert scores[0].isfinite().all()
    torch.testing.assert_close(*scores)
    torch.testing.assert_close(*(state_of(r.model) for r in runs))


class Functional(Net):
    """Computes its loss without any module."""

    def forward(self, inputs, data_samples=None, mode="tensor"):
        out = super().forward(inputs, data_samples, mode)
        return {"loss": out["loss"].mean()} if mode == "loss" else out


@pytest.mark.parametrize("selection", [None, HALF], ids=["in the loop", "before loading"])
def test_a_loss_without_a_module_warns_loudly_and_draws_uniformly(selection, tmp_path):
    runner = make_runner(
        tmp_path,
        model=Functional(loss=None),
        selection=selection,
        hooks=[dict(type="AUSAMHook", **({} if selection else dict(selection=HALF)))],
        epochs=3,
    )
    lines = lines_of(runner)
    runner.train()
    assert [line for line in lines if "UNIFORMLY" in line]
    scores = hook_of(runner).choice.selection.scores
    assert scores.of(torch.arange(24)).isnan().all()


def test_no_warning_where_the_loss_of_each_sample_is_seen(tmp_path):
    runner = make_runner(tmp_path, selection=HALF, hooks=[dict(type="AUSAMHook")])
    lines = lines_of(runner)
    runner.train()
    assert not [line for line in lines if "AUSAM" in line]


def test_validation_is_not_trained_nor_recorded(tmp_path):
    passes = []
    model = Net(fault=lambda m, loss: (passes.append(in_second_pass()), loss)[1])
    runner = train(
        tmp_path, model=model, selection=HALF, hooks=[dict(type="AUSAMHook")], epochs=2, val=True
    )
    assert passes == [False, True] * 6
    assert runner.message_hub.get_scalar("val/val/accuracy").current() >= 0


def test_start_epoch_is_15_percent_of_the_run_if_left_open(tmp_path):
    open_end = {k: v for k, v in HALF.items() if k != "start_epoch"}
    runner = train(tmp_path, selection=open_end, hooks=[dict(type="AUSAMHook")], epochs=20, size=8)
    selection = hook_of(runner).choice.selection
    assert selection.s_max_at(3) == selection.s_max > selection.s_max_at(2)


def test_concatenated_data_sets_keep_their_samples_apart(tmp_path):
    probe = Probe()
    parts = [dict(type=Points, size=size, pipeline=[augment, pack]) for size in (10, 14)]
    runner = train(
        tmp_path,
        dataset=dict(type="ConcatDataset", datasets=parts),
        hooks=[dict(type="AUSAMHook"), probe],
        wrapper=STOCK,
        epochs=3,
    )
    first_epoch = [i for batch in probe.batches[:3] for i in batch]
    assert sorted(first_epoch) == list(range(24))
    assert hook_of(runner).choice.selection.scores._count.sum() == 24 + 12 + 12


@pytest.mark.parametrize("optimizer", [SGD, dict(type="Adam", lr=1e-2)])
def test_it_learns(optimizer, tmp_path):
    """Last, not least."""
    model = Net()
    runner = train(
        tmp_path,
        model=model,
        selection=HALF,
        hooks=[dict(type="AUSAMHook")],
        wrapper={**SAM, "optimizer": optimizer},
        size=96,
        epochs=8,
        batch_size=16,
        val=True,
    )
    losses = [line["loss"] for line in scalars(runner)]
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])
    assert isinstance(model.loss_module, nn.CrossEntropyLoss)
