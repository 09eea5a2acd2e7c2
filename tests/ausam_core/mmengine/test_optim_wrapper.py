"""A step through MMEngine's wrapper is the step of a reference SAM that fits on a screen."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from ausam_core import in_second_pass
from ausam_core.mmengine import SAMOptimWrapper
from tests.ausam_core.mmengine.tiny import (
    SAM,
    SGD,
    STOCK,
    Net,
    Points,
    Probe,
    flat,
    make_runner,
    same,
    state_of,
    train,
)


def reference_sam(model, batches, optimizer, rho, accumulate=1, clip=None):
    """SAM as its paper writes it; with ``accumulate`` each micro-batch has its own ε."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    loss_of = lambda batch: model(**batch, mode="loss")["loss"]  # noqa: E731
    for start in range(0, len(batches), accumulate):
        group = batches[start : start + accumulate]
        total = [torch.zeros_like(p) for p in parameters]
        for batch in group:
            gradient = torch.autograd.grad(loss_of(batch), parameters)
            norm = torch.cat([g.flatten() for g in gradient]).norm()
            weights = [p.detach().clone() for p in parameters]
            buffers = [b.clone() for b in model.buffers()]
            with torch.no_grad():
                for p, g in zip(parameters, gradient, strict=True):
                    p += rho * g / norm
            gradient = torch.autograd.grad(loss_of(batch), parameters)
            with torch.no_grad():
                for pairs in (zip(parameters, weights), zip(model.buffers(), buffers)):  # noqa: B905
                    for now, then in pairs:
                        now.copy_(then)
            total = [t + g / len(group) for t, g in zip(total, gradient, strict=True)]
        for p, t in zip(parameters, total, strict=True):
            p.grad = t
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()


def freeze_first_layer(model):
    model.body[0].requires_grad_(False)
    return model


def one_group(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1, 0.9)


def several_groups(model):
    """What ``paramwise_cfg`` below makes of the model."""
    named = dict(model.named_parameters())
    return torch.optim.SGD(
        [
            dict(
                params=[p],
                lr=0.01 if "head" in name else 0.1,
                weight_decay=0.0 if name.startswith(("body.1", "body.4")) else 0.05,
            )
            for name, p in named.items()
        ],
        0.1,
        0.9,
    )


PARAMWISE = dict(
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"head": dict(lr_mult=0.1)}, norm_decay_mult=0.0),
)
CASES = {
    "plain": (dict(), one_group, dict(), None),
    "clip_grad": (dict(clip_grad=dict(max_norm=0.05)), one_group, dict(clip=0.05), None),
    "paramwise_cfg": (PARAMWISE, several_groups, dict(), None),
    "frozen layers": (dict(), one_group, dict(), freeze_first_layer),
    "accumulation 1": (dict(accumulative_counts=1), one_group, dict(accumulate=1), None),
    "accumulation 2, remainder 1": (
        dict(accumulative_counts=2),
        one_group,
        dict(accumulate=2),
        None,
    ),
    "accumulation 3, remainder 2": (
        dict(accumulative_counts=3),
        one_group,
        dict(accumulate=3),
        None,
    ),
    "accumulation 2 and clip_grad": (
        dict(accumulative_counts=2, clip_grad=dict(max_norm=0.05)),
        one_group,
        dict(accumulate=2, clip=0.05),
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_five_steps_equal_the_reference(name, tmp_path):
    settings, optimizer_of, reference_settings, prepare = CASES[name]
    model = Net(depth=2)
    if prepare is not None:
        prepare(model)
    expected, start = copy.deepcopy(model), flat(model)
    points = Points(20)
    batches = [pseudo_collate([points[i] for i in range(k, k + 4)]) for k in range(0, 20, 4)]
    reference_sam(expected, batches, optimizer_of(expected), rho=0.1, **reference_settings)

    runner = train(
        tmp_path, model=model, wrapper={**SAM, **settings}, size=20, batch_size=4, shuffle=False
    )

    assert (flat(runner.model) - start).abs().max() > 5e-3
    torch.testing.assert_close(state_of(runner.model), state_of(expected), rtol=1e-5, atol=1e-6)
    if name == "paramwise_cfg":
        assert len(runner.optim_wrapper.optimizer.param_groups) > 3


def test_the_reference_tells_sam_from_its_base_optimizer(tmp_path):
    runs = [
        train(tmp_path, wrapper={**SAM, "method": dict(type="SAM", rho=rho)}) for rho in (0.0, 0.1)
    ]
    assert (flat(runs[0].model) - flat(runs[1].model)).abs().max() > 1e-4


@pytest.mark.parametrize(
    "settings", [dict(), dict(accumulative_counts=2), dict(clip_grad=dict(max_norm=0.1))]
)
@pytest.mark.parametrize("method", [dict(type="SAM", rho=0.0), dict(type="Base")])
def test_rho_zero_equals_the_stock_wrapper_to_the_bit(method, settings, tmp_path):
    stock = train(tmp_path, wrapper={**STOCK, **settings}, epochs=2)
    ours = train(tmp_path, wrapper={**SAM, "method": method, **settings}, epochs=2)
    assert same(state_of(stock.model), state_of(ours.model))
    assert same(
        stock.optim_wrapper.optimizer.state_dict(), ours.optim_wrapper.optimizer.state_dict()
    )


def test_running_statistics_are_those_of_a_single_pass(tmp_path):
    # lr = 0: the weights stay, so the statistics of every step can be compared.
    still = dict(optimizer=dict(type="SGD", lr=0.0))
    stock = train(tmp_path, wrapper={**STOCK, **still}, epochs=2)
    ours = train(tmp_path, wrapper={**SAM, **still, "method": dict(type="SAM", rho=0.5)}, epochs=2)
    assert same(state_of(stock.model), state_of(ours.model))
    assert ours.model.body[1].num_batches_tracked == 6


def test_sync_batch_norm_is_frozen_too(tmp_path):
    still = dict(optimizer=dict(type="SGD", lr=0.0))
    runs = [
        train(tmp_path, wrapper={**wrapper, **still}, model=Net(norm=nn.SyncBatchNorm))
        for wrapper in (STOCK, SAM)
    ]
    assert same(*(state_of(run.model) for run in runs))


class Breakdown(RuntimeError):
    pass


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_weights_come_back_to_the_bit_when_the_second_pass_raises(where, accumulate, tmp_path):
    perturbed = []

    def fail(model, loss):
        if not in_second_pass():
            return loss
        perturbed.append(flat(model))
        if where == "forward":
            raise Breakdown
        loss.register_hook(lambda gradient: (_ for _ in ()).throw(Breakdown()))
        return loss

    model = Net(fault=fail)
    before = flat(model)
    runner = make_runner(tmp_path, model=model, wrapper={**SAM, "accumulative_counts": accumulate})
    with pytest.raises(Breakdown):
        runner.train()
    assert not torch.equal(perturbed[0], before)
    assert torch.equal(flat(model), before)
    assert all(p.grad is None for p in model.parameters())
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm1d))
    assert not in_second_pass()


def test_replayed_random_state_gives_both_passes_the_same_dropout_mask(tmp_path):
    def difference(**settings):
        # rho so small that only other masks can make a difference
        method = dict(type="SAM", rho=1e-9, **settings)
        losses = []
        train(
            tmp_path,
            model=Net(dropout=0.5, fault=lambda m, loss: (losses.append(loss.item()), loss)[1]),
            wrapper={**SAM, "method": method},
        )
        assert len(losses) == 6
        return max(abs(a - b) for a, b in zip(losses[::2], losses[1::2], strict=True))

    assert difference(replay_random_state=True) < 1e-5
    assert difference() > 1e-2


def test_the_gradient_norm_does_not_depend_on_accumulation(tmp_path):
    norms = []
    for accumulate in (1, 3):
        probe = Probe()
        still = dict(optimizer=dict(type="SGD", lr=0.0), accumulative_counts=accumulate)
        train(tmp_path, wrapper={**SAM, **still}, hooks=[probe])
        norms.append(torch.stack([r.grad_norm for r in probe.results]))
    assert norms[0].min() > 0
    torch.testing.assert_close(*norms)


def test_it_says_so_when_it_has_not_met_the_model():
    model = Net()
    wrapper = SAMOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="initialize_count_status"):
        wrapper.update_params(torch.zeros((), requires_grad=True))


def test_parameter_groups_carry_their_own_rho(tmp_path):
    """ρ by paramwise_cfg is MMEngine's affair; a group's key reaches the perturbation."""
    moved = []
    model = Net()
    start = state_of(model)
    model.fault = lambda m, loss: (moved.append(state_of(m)) if in_second_pass() else None, loss)[1]
    runner = make_runner(tmp_path, model=model, wrapper=SAM)
    wrapper = runner.build_optim_wrapper(
        SAMOptimWrapper(
            optimizer=torch.optim.SGD(
                [
                    dict(params=list(model.body.parameters()), rho=0.0),
                    dict(params=list(model.head.parameters())),
                ],
                lr=SGD["lr"],
            ),
            method=dict(type="SAM", rho=0.1),
        )
    )
    runner.optim_wrapper = wrapper
    runner.train()
    assert torch.equal(moved[0]["body.0.weight"], start["body.0.weight"])
    assert not torch.equal(moved[0]["head.weight"], start["head.weight"])
