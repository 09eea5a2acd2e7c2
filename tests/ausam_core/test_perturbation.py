"""The perturbation of SAM and ASAM: right, exact, and confined to what it may touch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ausam_core import AusamError, Perturbation
from ausam_core.perturbation import global_norm


def make(shapes=((3, 2), (2,)), seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator).to(dtype)
    return parameters


def copies(parameters):
    return [p.detach().clone() for p in parameters]


def test_climb_moves_by_rho_along_the_gradient_of_all_parameters_together():
    parameters = make()
    before, grads = copies(parameters), [p.grad.clone() for p in parameters]
    norm = torch.cat([g.flatten() for g in grads]).norm()
    climb = Perturbation(torch.optim.SGD(parameters, lr=1), rho=0.3).climb()
    torch.testing.assert_close(climb.norm, norm)
    assert climb.finite
    for p, w, g in zip(parameters, before, grads, strict=True):
        torch.testing.assert_close(p.detach(), w + 0.3 * g / norm)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_restore_is_exact_to_the_bit_and_in_place(dtype):
    parameters = make(dtype=dtype)
    before, addresses = copies(parameters), [p.data_ptr() for p in parameters]
    perturbation = Perturbation(torch.optim.SGD(parameters, lr=1), rho=0.37)
    for _ in range(5):
        for p in parameters:
            p.grad = torch.rand_like(p)
        perturbation.climb()
        assert not torch.equal(parameters[0], before[0])
        perturbation.restore()
        assert all(torch.equal(p, w) for p, w in zip(parameters, before, strict=True))
    assert addresses == [p.data_ptr() for p in parameters]


@given(scale=st.floats(1e-6, 1e6), rho=st.floats(0, 10))
@settings(max_examples=30, deadline=None)
def test_the_length_of_the_perturbation_is_rho_whatever_the_gradient_is_scaled_by(scale, rho):
    parameters = make()
    before = copies(parameters)
    for p in parameters:
        p.grad *= scale
    Perturbation(torch.optim.SGD(parameters, lr=1), rho=rho).climb()
    moved = global_norm([p.detach() - w for p, w in zip(parameters, before, strict=True)])
    assert float(moved) == pytest.approx(rho, rel=1e-4, abs=1e-6)


def test_a_zero_gradient_moves_nothing():
    parameters = make()
    before = copies(parameters)
    for p in parameters:
        p.grad.zero_()
    climb = Perturbation(torch.optim.SGD(parameters, lr=1), rho=0.1).climb()
    assert climb.finite and climb.norm == 0
    assert all(torch.equal(p, w) for p, w in zip(parameters, before, strict=True))


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_not_finite_is_noticed_and_undone(bad):
    parameters = make()
    before = copies(parameters)
    parameters[0].grad[0, 0] = bad
    perturbation = Perturbation(torch.optim.SGD(parameters, lr=1), rho=0.1)
    assert not perturbation.climb().finite
    perturbation.restore()
    assert all(torch.equal(p, w) for p, w in zip(parameters, before, strict=True))


def test_each_group_may_have_its_own_rho_under_one_common_norm():
    a, b = make()
    before, norm = copies([a, b]), global_norm([a.grad, b.grad])
    expected = [w + r * p.grad / norm for w, r, p in zip(before, (0.5, 0.0), (a, b), strict=True)]
    groups = [{"params": [a], "rho": 0.5}, {"params": [b], "rho": 0.0}]
    Perturbation(torch.optim.SGD(groups, lr=1), rho=9.0).climb()
    torch.testing.assert_close(a.detach(), expected[0])
    assert torch.equal(b, before[1])


def test_frozen_and_gradient_free_parameters_are_left_alone():
    a, frozen, unused = make(((3,), (3,), (3,)))
    frozen.requires_grad_(False)
    unused.grad = None
    before, own = copies([a, frozen, unused]), a.grad.norm()
    climb = Perturbation(torch.optim.SGD([a, frozen, unused], lr=1), rho=0.1).climb()
    torch.testing.assert_close(climb.norm, own)
    assert torch.equal(frozen, before[1]) and torch.equal(unused, before[2])
    assert not torch.equal(a, before[0])


@pytest.mark.parametrize("exclude", [[r"^1\."], lambda name, p: name.startswith("1.")])
def test_excluded_parameters_neither_move_nor_count(exclude):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = copies(model[1].parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    climb = Perturbation(optimizer, rho=1.0, model=model, exclude=exclude).climb()
    assert float(climb.norm) == pytest.approx(math.sqrt(12))
    assert all(torch.equal(p, w) for p, w in zip(model[1].parameters(), before, strict=True))


def test_adaptive_is_the_form_of_its_authors():
    """T = |w| + η for weights, 1 for biases; ε = ρ·T²g/‖Tg‖."""
    model = nn.Linear(4, 3)
    grads = {n: torch.randn_like(p) for n, p in model.named_parameters()}
    for n, p in model.named_parameters():
        p.grad = grads[n].clone()
    w, b = model.weight.detach().clone(), model.bias.detach().clone()
    t = w.abs() + 0.01
    norm = torch.cat([(t * grads["weight"]).flatten(), grads["bias"]]).norm()
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    climb = Perturbation(optimizer, rho=0.5, adaptive=True, eta=0.01, model=model).climb()
    torch.testing.assert_close(climb.norm, norm)
    torch.testing.assert_close(model.weight.detach(), w + 0.5 * t**2 * grads["weight"] / norm)
    torch.testing.assert_close(model.bias.detach(), b + 0.5 * grads["bias"] / norm)


def test_bad_requests_are_refused():
    optimizer = torch.optim.SGD(make(), lr=1)
    with pytest.raises(AusamError, match="rho must be 0 or more, found -0.1"):
        Perturbation(optimizer, rho=-0.1)
    with pytest.raises(AusamError, match="rho must be 0 or more, found nan"):
        Perturbation(optimizer, rho=math.nan)
    with pytest.raises(AusamError, match="pass model"):
        Perturbation(optimizer, adaptive=True)
    with pytest.raises(AusamError, match="parameter group"):
        Perturbation(torch.optim.SGD([{"params": make(), "rho": -1}], lr=1))


def test_sparse_gradients_are_refused_by_name():
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(AusamError, match="sparse=False"):
        Perturbation(torch.optim.SGD(table.parameters(), lr=1)).climb()
