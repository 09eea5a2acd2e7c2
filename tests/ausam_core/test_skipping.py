"""Updates that are not finite are skipped, counted, and in the end a reason to stop."""

import pytest
import torch
from torch import nn

from ausam_core import SAM, AusamError, Base

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "sgd_fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
    "adam_fused": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, fused=True),
}


def flat(optimizer, model):
    state = optimizer.state_dict()["state"]
    tensors = [v for s in state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [t.clone() for t in (*model.parameters(), *tensors)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(4, 2)


@pytest.mark.parametrize("method", [SAM, Base])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_step_changes_neither_weights_nor_optimizer(method, name, bad, model):
    optimizer = OPTIMIZERS[name](model.parameters())
    stepper = method(optimizer, model)
    x = torch.randn(8, 4)
    stepper.step(lambda: model(x).square().sum(1))
    before = flat(optimizer, model)
    result = stepper.step(lambda: model(x).square().sum(1) * bad)
    assert not result.finite and stepper.skipping.read() == (1, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, flat(optimizer, model), strict=True))
    stepper.step(lambda: model(x).square().sum(1))
    assert not torch.equal(before[0], model.weight)
    assert stepper.skipping.check() == 1


def test_a_pass_two_that_is_not_finite_is_skipped_too(model):
    stepper = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model)
    before, calls = model.weight.detach().clone(), []

    def closure():
        calls.append(1)
        return model(torch.ones(2, 4)).sum(1) * (1.0 if len(calls) == 1 else float("inf"))

    assert not stepper.step(closure).finite
    assert torch.equal(before, model.weight)


def test_too_many_in_a_row_stop_the_run(model):
    stepper = Base(torch.optim.SGD(model.parameters(), lr=0.1), model, max_skips=3)

    def step(factor):
        stepper.step(lambda: model(torch.ones(2, 4)).sum(1) * factor)

    for factor in (float("nan"), float("nan"), 1.0, float("nan"), float("nan")):
        step(factor)
    assert stepper.skipping.check() == 4
    step(float("nan"))
    with pytest.raises(AusamError, match="3 updates in a row"):
        stepper.skipping.check()


def test_running_statistics_that_a_bad_batch_poisoned_are_put_back(model):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    method = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model)
    x = torch.randn(8, 4)
    method.step(lambda: model(x).square().sum(1))
    assert method.check() == 0
    good = model[1].running_mean.clone()
    method.step(lambda: model(x * float("nan")).square().sum(1))
    assert model[1].running_mean.isnan().all()
    assert method.check() == 1 and torch.equal(model[1].running_mean, good)
    method.step(lambda: model(x).square().sum(1))
    assert method.check() == 1 and not torch.equal(model[1].running_mean, good)


def test_a_run_of_zero_is_no_limit(model):
    with pytest.raises(AusamError, match="max_skips must be 1 or more, found 0"):
        Base(torch.optim.SGD(model.parameters(), lr=0.1), model, max_skips=0)
