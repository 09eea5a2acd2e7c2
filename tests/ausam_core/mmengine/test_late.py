"""The third axis in a run: the base optimizer first, then a method and a selection; and how the
budget of a step is split."""

from __future__ import annotations

import pytest
import torch

from ausam_core import in_second_pass
from ausam_core.mmengine import AUSAMHook
from tests.ausam_core.mmengine.tiny import (
    HALF,
    SAM,
    STOCK,
    Net,
    Probe,
    finish,
    flat,
    hook_of,
    make_runner,
    same,
    state_of,
    train,
)


def passes_of(tmp_path, **kwargs):
    """For each step: how many samples went through each forward pass, and second passes."""
    steps = []

    class Counting(Net):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            if not in_second_pass():
                steps.append([])
            steps[-1].append(len(inputs))
            return super().forward(inputs, data_samples, mode)

    runner = train(tmp_path, model=Counting(), **kwargs)
    return steps, runner


@pytest.mark.parametrize("form", ["in the loop", "before loading"])
def test_before_its_start_whole_batches_take_one_pass(form, tmp_path):
    loop = form == "in the loop"
    hook = AUSAMHook(start=0.5, **(dict(rho=0.1, alpha=0.5) if loop else {}))
    steps, runner = passes_of(
        tmp_path,
        wrapper=STOCK if loop else SAM,
        selection=None if loop else HALF,
        hooks=[hook],
        epochs=4,
    )
    assert steps == [[8]] * 6 + [[4, 4]] * 6
    # Every step is as dear as one of the base optimizer: 8 sample passes.
    assert runner.optim_wrapper.method.cost.passes == 12 * 8


def test_the_part_before_the_start_is_the_base_optimizer_to_the_bit(tmp_path):
    probes = [Probe(), Probe()]
    train(tmp_path, wrapper=STOCK, hooks=[AUSAMHook(start=0.5), probes[0]], epochs=4)
    base = dict(type="AUSAMHook", method=dict(type="Base"), selection=dict(type="AllSamples"))
    train(tmp_path, wrapper=STOCK, hooks=[base, probes[1]], epochs=4)
    assert same(probes[0].weights[:6], probes[1].weights[:6])
    assert not torch.equal(probes[0].weights[6], probes[1].weights[6])


@pytest.mark.parametrize("epoch", [1, 2, 3], ids=["before", "at", "after"])
def test_a_run_resumed_on_either_side_of_the_border_is_the_whole_run(epoch, tmp_path):
    def make(folder, probe, **kwargs):
        hooks = [AUSAMHook(start=0.5), probe]
        return make_runner(
            folder, wrapper=SAM, selection=HALF, hooks=hooks, epochs=4, save=True, **kwargs
        )

    probes = [Probe(), Probe()]
    whole = finish(make(tmp_path / "whole", probes[0]))
    checkpoint = str(tmp_path / "whole" / f"epoch_{epoch}.pth")
    resumed = finish(make(tmp_path / "r", probes[1], resume=True, load_from=checkpoint))
    assert same(probes[1].weights, probes[0].weights[3 * epoch :])
    assert same(state_of(resumed.model), state_of(whole.model))
    assert same(resumed.optim_wrapper.state_dict(), whole.optim_wrapper.state_dict())


def test_without_a_selection_the_start_is_the_methods_own(tmp_path):
    wrapper = {**SAM, "method": dict(type="SAM", rho=0.1, start=0.75)}
    steps, _ = passes_of(tmp_path, wrapper=wrapper, epochs=4)
    assert steps == [[8]] * 9 + [[8, 8]] * 3


@pytest.mark.parametrize("selection", [None, HALF])
def test_a_part_ascends_and_all_descend(selection, tmp_path):
    wrapper = {**SAM, "method": dict(type="SAM", rho=0.1, ascent=0.5)}
    hooks = [AUSAMHook()] if selection else []
    steps, runner = passes_of(tmp_path, wrapper=wrapper, selection=selection, hooks=hooks, epochs=2)
    half = [[2, 4]] if selection else [[4, 8]]
    assert steps == [[4, 8]] * 3 + half * 3
    if selection:
        scores = hook_of(runner).choice.selection.scores
        assert scores._count.sum() == 3 * 4 + 3 * 2, "scored are those that both passes saw"
    assert int(runner.model.body[1].num_batches_tracked) == 6


def test_momentum_sam_takes_one_pass_and_leaves_the_weights_to_others(tmp_path):
    probe = Probe()
    wrapper = {**SAM, "method": dict(type="MSAM", rho=0.5)}
    steps, runner = passes_of(tmp_path, wrapper=wrapper, hooks=[probe], epochs=2)
    base = train(tmp_path, wrapper=STOCK, epochs=2)
    assert steps == [[8]] * 6
    assert torch.equal(probe.weights[-1], flat(runner.model))
    assert not torch.equal(flat(runner.model), flat(base.model))


def test_momentum_sam_leaves_no_weight_perturbed_when_a_pass_raises(tmp_path):
    calls = []

    def fault(model, loss):
        calls.append(flat(model))
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return loss

    probe = Probe()
    wrapper = {**SAM, "method": dict(type="MSAM", rho=5.0)}
    model = Net(fault=fault)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(tmp_path, model=model, wrapper=wrapper, hooks=[probe])
    assert torch.equal(flat(model), probe.weights[-1])
    assert not torch.equal(calls[2], probe.weights[-1]), "the pass was at w + ε"


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_el2n_scores_from_the_first_epoch_on(start, tmp_path):
    chosen = dict(type="EL2NSelection", alpha=0.5, start_epoch=1)
    hook = AUSAMHook(start=start)
    steps, runner = passes_of(
        tmp_path, wrapper=SAM, selection=chosen, hooks=[hook], epochs=4, save=True
    )
    scores = hook.choice.selection.scores
    assert scores.of(torch.arange(24)).isfinite().all()
    assert scores._count.sum() == (24 + 3 * 12 if start == 0 else 2 * 24 + 2 * 12)
    assert steps[-1] == [4, 4]


@pytest.mark.parametrize("by_epoch", [True, False])
@pytest.mark.parametrize(("epochs", "late"), [(1, 1), (2, 3), (3, 3), (4, 3), (8, 6)])
def test_it_begins_in_the_shortest_runs_too(epochs, late, by_epoch, tmp_path):
    """In a run of one epoch the method alone, within it; else with the last epoch at the latest."""
    settings = {} if by_epoch else dict(train_cfg=dict(by_epoch=False, max_iters=3 * epochs))
    hook = AUSAMHook(rho=0.1, alpha=1, start=0.75)
    steps, _ = passes_of(tmp_path, wrapper=STOCK, hooks=[hook], epochs=epochs, **settings)
    assert [len(step) for step in steps] == [1] * (3 * epochs - late) + [2] * late


def test_a_selection_cannot_begin_within_an_epoch_and_says_so(tmp_path):
    hooks = [AUSAMHook(rho=0.1, alpha=0.5, start=0.6)]
    with pytest.warns(UserWarning, match="start=0.6 of GradientNormSelection lies between two"):
        steps, _ = passes_of(tmp_path, wrapper=STOCK, hooks=hooks, epochs=1)
    assert steps == [[8], [8], [8, 8]]  # the method alone begins, within it


@pytest.mark.parametrize("alpha", [1, 0.5])
def test_a_run_without_a_method_goes_on_with_one(alpha, tmp_path):
    train(tmp_path, wrapper=STOCK, epochs=3, save=True)
    steps, _ = passes_of(
        tmp_path,
        wrapper=STOCK,
        hooks=[AUSAMHook(rho=0.1, alpha=alpha, start=0.75)],
        epochs=8,
        resume=True,
        load_from=str(tmp_path / "epoch_3.pth"),
    )
    assert [len(step) for step in steps] == [1] * 9 + [2] * 6  # epochs 3 to 5, then 6 and 7
