"""Parameters that are excluded from the perturbation neither move nor count, in every method."""

import pytest
import torch
from torch import nn

from ausam_core import AESAM, ESAM, GSAM, SAM, VSAM, AusamError, LookSAM, in_second_pass

METHODS = {
    "SAM": (SAM, {}),
    "ASAM": (SAM, dict(adaptive=True)),
    "GSAM": (GSAM, {}),
    "GSAM_adaptive": (GSAM, dict(adaptive=True)),
    "LookSAM": (LookSAM, dict(k=3)),
    "AESAM": (AESAM, dict(total_steps=12, lambda_1=0.0, lambda_2=0.0)),
    "VSAM": (VSAM, dict(warmup_steps=2, window=4)),
}
X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """Two losses that share nothing: what one does must not be felt by the other."""

    def __init__(self, kept=1.0):
        super().__init__()
        torch.manual_seed(1)
        self.weight = nn.Parameter(torch.randn(4))
        self.kept = nn.Parameter(torch.full((3,), kept))

    def forward(self):
        return (X @ self.weight).sin().add(1).square(), 100 * self.kept.square().sum()


def train(name, apart, excluded_pass=2, steps=12):
    """The weights after some steps; ``apart`` gives the optimizer those of the first loss alone."""
    cls, settings = METHODS[name]
    model, seen = Two(), []
    parameters = [model.weight] if apart else list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)
    more = {} if apart else dict(exclude=["kept"], excluded_pass=excluded_pass)
    method = cls(optimizer, model, rho=0.1, **settings, **more)

    def closure():
        if in_second_pass():
            seen.append(model.kept.detach().clone())
        losses, other = model()
        return losses if apart else losses + other

    before = model.kept.detach().clone()
    for _ in range(steps):
        method.step(closure)
        if not apart:
            assert all(torch.equal(kept, before) for kept in seen)
            before = model.kept.detach().clone()
            seen.clear()
    return model.weight.detach(), model.kept.detach()


@pytest.mark.parametrize("name", METHODS)
def test_excluded_parameters_are_not_felt_by_the_others(name):
    weight, kept = train(name, apart=False)
    alone, _ = train(name, apart=True)
    torch.testing.assert_close(weight, alone)
    assert not torch.equal(kept, torch.ones(3))


class Conflict(nn.Module):
    """Pass 1 wants ``kept`` smaller, pass 2 larger."""

    def __init__(self):
        super().__init__()
        self.weight, self.kept = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def forward(self):
        sign = -1.0 if in_second_pass() else 1.0
        return self.weight.square().sum() + sign * self.kept.sum() + torch.zeros(4)


@pytest.mark.parametrize("excluded_pass, gradient", [(1, 1.0), (2, -1.0)])
@pytest.mark.parametrize("name", METHODS)
def test_excluded_parameters_descend_by_the_pass_that_was_asked_for(name, excluded_pass, gradient):
    cls, settings = METHODS[name]
    model = Conflict()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    more = dict(exclude=["kept"], excluded_pass=excluded_pass)
    method = cls(optimizer, model, rho=0.1, **settings, **more)
    model.kept.grad = torch.full((2,), 5.0)  # of an earlier batch
    assert method.accumulate(model).after is not None
    torch.testing.assert_close(model.kept.grad, torch.full((2,), 5.0 + gradient))


def test_pass_one_is_refused_where_its_gradient_is_not_that_of_all():
    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(AusamError, match="excluded_pass must be 2, or 1 together with"):
        SAM(optimizer, model, exclude=["kept"], excluded_pass=1, perturb="local")
    with pytest.raises(AusamError, match="excluded_pass must be 2, or 1"):
        SAM(optimizer, model, excluded_pass=3)
    with pytest.raises(AusamError, match="ESAM has no gradient of all parameters"):
        ESAM(optimizer, model, excluded_pass=1)
