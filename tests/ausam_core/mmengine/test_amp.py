"""Mixed precision: pass 2 sees the perturbed weights, ε does not know the loss scale, and a step
that is not finite leaves no trace but a smaller scale."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.hooks import Hook

from ausam_core import in_second_pass
from ausam_core.mmengine import SAMAmpOptimWrapper
from tests.ausam_core.mmengine.tiny import SAM, SGD, STOCK, Net, Probe, flat, state_of, train

HAS_CUDA = torch.cuda.is_available()
AMP = dict(type="SAMAmpOptimWrapper", optimizer=SGD, method=dict(type="SAM", rho=0.1))


def precision(dtype: str):
    """bf16 runs anywhere; fp16 under a scaler is CUDA's."""
    return pytest.param(dtype, marks=[pytest.mark.gpu] if dtype == "float16" else [])


@pytest.mark.parametrize("dtype", [precision("bfloat16"), precision("float16")])
def test_the_second_pass_sees_the_perturbed_weights_under_autocast(dtype, tmp_path):
    """Autocast keeps the half-precision casts of the weights until its context ends; both passes in
    one context would compute at w."""
    losses, types = [], []

    def keep(model, loss):
        losses.append(loss.item())
        types.append(model.head(model.body(torch.zeros(2, 6, device=loss.device))).dtype)
        return loss

    for wrapper in (SAM, {**AMP, "dtype": dtype}):
        train(
            tmp_path,
            model=Net(fault=keep),
            wrapper={**wrapper, "method": dict(type="SAM", rho=0.5)},
            size=8,
        )
    full, half = losses[:2], losses[2:]
    assert types[2:] == [getattr(torch, dtype)] * 2
    assert full[1] - full[0] > 0.1
    assert half[1] - half[0] == pytest.approx(full[1] - full[0], rel=0.1)


@pytest.mark.parametrize("dtype", [precision("bfloat16"), precision("float16")])
def test_the_step_does_not_depend_on_the_loss_scale(dtype, tmp_path):
    probes = [Probe(), Probe()]
    runs = [
        train(
            tmp_path,
            wrapper={**AMP, "dtype": dtype, "loss_scale": scale, "accumulative_counts": 2},
            hooks=[probe],
            epochs=2,
        )
        for scale, probe in zip((1.0, 4096.0), probes, strict=True)
    ]
    torch.testing.assert_close(*(state_of(run.model) for run in runs), rtol=1e-3, atol=1e-4)
    for a, b in zip(probes[0].results, probes[1].results, strict=True):
        assert a.grad_norm > 0
        torch.testing.assert_close(a.grad_norm, b.grad_norm, rtol=1e-3, atol=1e-5)


def test_bf16_trains_close_to_fp32(tmp_path):
    runs = [
        train(tmp_path, wrapper=wrapper, epochs=3)
        for wrapper in (SAM, {**AMP, "dtype": "bfloat16"})
    ]
    moved = (flat(runs[0].model) - flat(Net())).norm()
    apart = (flat(runs[0].model) - flat(runs[1].model)).norm()
    assert 0 < apart < 0.1 * moved


class Inf:
    """Makes the loss infinite in one pass of one step, and its gradient if ``gradient``."""

    def __init__(self, step: int, second: bool, gradient: bool = True) -> None:
        self.step, self.second, self.gradient = step, second, gradient
        self.calls = self.hit = 0

    def __call__(self, model, loss):
        if not in_second_pass():
            self.calls += 1
        if self.calls - 1 == self.step and in_second_pass() == self.second:
            self.hit += 1
            return loss * math.inf if self.gradient else loss + math.inf
        return loss


class Watch(Hook):
    """Weights, optimizer state and scale after every iteration."""

    priority = "VERY_LOW"

    def __init__(self):
        self.weights, self.scales, self.momentum = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        optimizer = runner.optim_wrapper.optimizer
        self.weights.append(flat(runner.model))
        self.scales.append(runner.optim_wrapper.loss_scaler.get_scale())
        buffers = [s["momentum_buffer"].flatten() for s in optimizer.state.values()]
        self.momentum.append(torch.cat(buffers) if buffers else torch.zeros(1))


@pytest.mark.parametrize("clip", [None, dict(max_norm=1.0)], ids=["no clip", "clip"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("second", [False, True], ids=["pass 1", "pass 2"])
@pytest.mark.parametrize("gradient", [True, False], ids=["inf gradient", "inf loss"])
@pytest.mark.parametrize("dtype", [precision("bfloat16"), precision("float16")])
def test_an_inf_skips_the_step_and_backs_the_scale_off(
    dtype, gradient, second, accumulate, clip, tmp_path
):
    fault, watch = Inf(step=2, second=second, gradient=gradient), Watch()
    wrapper = {
        **AMP,
        "dtype": dtype,
        "loss_scale": dict(init_scale=1024.0, growth_interval=1000),
        "accumulative_counts": accumulate,
        "clip_grad": clip,
    }
    train(tmp_path, model=Net(fault=fault), wrapper=wrapper, hooks=[watch], size=48)
    assert fault.hit == 1
    update = 2 if accumulate == 1 else 3  # the iteration that updates with the bad gradient in it
    assert watch.scales == [1024.0] * update + [512.0] * (6 - update)
    assert torch.equal(watch.weights[update], watch.weights[1])
    assert torch.equal(watch.momentum[update], watch.momentum[1])
    assert not torch.equal(watch.weights[5], watch.weights[update])
    assert all(w.isfinite().all() for w in watch.weights)


@pytest.mark.parametrize("gradient", [True, False], ids=["inf gradient", "inf loss"])
def test_the_base_optimizer_skips_alike(gradient, tmp_path):
    watch = Watch()
    wrapper = {**AMP, "method": dict(type="Base"), "loss_scale": dict(init_scale=1024.0)}
    fault = Inf(step=2, second=False, gradient=gradient)
    train(tmp_path, model=Net(fault=fault), wrapper=wrapper, hooks=[watch], size=40)
    assert watch.scales == [1024.0] * 2 + [512.0] * 3
    assert torch.equal(watch.weights[2], watch.weights[1])


@pytest.mark.skipif(HAS_CUDA, reason="with an accelerator MMEngine's own wrapper decides")
def test_without_an_accelerator_mmengine_refuses_and_ours_runs(tmp_path):
    with pytest.raises(AssertionError, match="only available training on gpu"):
        train(tmp_path, wrapper={**STOCK, "type": "AmpOptimWrapper"})
    runner = train(tmp_path, wrapper=AMP)
    assert type(runner.optim_wrapper) is SAMAmpOptimWrapper
    assert runner.optim_wrapper.loss_scaler.is_enabled()


@pytest.mark.gpu
def test_the_hook_promotes_mmengines_own_amp_wrapper(tmp_path):
    runs = [
        train(tmp_path, wrapper=wrapper, hooks=hooks, epochs=2)
        for wrapper, hooks in (
            ({**STOCK, "type": "AmpOptimWrapper"}, [dict(type="AUSAMHook", rho=0.1, alpha=1)]),
            (AMP, []),
        )
    ]
    assert type(runs[0].optim_wrapper) is SAMAmpOptimWrapper
    torch.testing.assert_close(*(state_of(run.model) for run in runs))


@pytest.mark.parametrize("scale", ["dynamic", 512.0, dict(init_scale=512.0)])
def test_the_loss_scale_is_set_as_mmengine_sets_it(scale, tmp_path):
    runner = train(tmp_path, wrapper={**AMP, "loss_scale": scale}, size=8)
    found = runner.optim_wrapper.loss_scaler.get_scale()
    assert found == (65536.0 if scale == "dynamic" else 512.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(use_fsdp=True), "use_fsdp=True is not supported"),
        (dict(dtype="float12"), "float12"),
        pytest.param(
            dict(dtype="float16"),
            "on the CPU is bfloat16",
            marks=pytest.mark.skipif(HAS_CUDA, reason="fp16 is fine there"),
        ),
        (dict(loss_scale="static"), "static"),
    ],
)
def test_settings_it_cannot_work_with_are_refused(settings, words, tmp_path):
    with pytest.raises((ValueError, TypeError, AssertionError), match=words):
        train(tmp_path, wrapper={**AMP, **settings})
