"""What a method cannot do it says in one sentence, at once, and loses nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import AESAM, ESAM, SAM, AusamError, Base

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (8,), generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def sgd(model, **settings):
    return torch.optim.SGD(model.parameters(), lr=0.1, **settings)


def losses_of(model):
    return lambda: F.cross_entropy(model(X), Y, reduction="none")


def test_an_optimizer_that_evaluates_the_loss_itself():
    model = network()
    with pytest.raises(AusamError, match="LBFGS evaluates the loss itself"):
        SAM(torch.optim.LBFGS(model.parameters()), model)


def test_a_lazy_module():
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(AusamError, match="has no shape yet"):
        SAM(sgd(model), model)


@pytest.mark.parametrize("cls", [Base, SAM])
def test_a_sparse_gradient(cls):
    model = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Linear(4, 3))
    method = cls(sgd(model), model)
    with pytest.raises(AusamError, match=r"shape \[5, 4\] has a sparse gradient"):
        method.step(lambda: model(torch.tensor([1, 2])).sum(1))


@pytest.mark.parametrize("cls", [Base, SAM])
def test_a_closure_that_calls_backward(cls):
    model = network()

    def closure():
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        return loss

    with pytest.raises(AusamError, match="the closure left gradients behind"):
        cls(sgd(model), model).step(closure)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("value", [lambda m: m(X).sum().detach(), lambda m: torch.zeros(8)])
def test_a_loss_that_is_cut_from_its_graph(value):
    model = network()
    with pytest.raises(AusamError, match="does not depend on any parameter"):
        SAM(sgd(model), model).step(lambda: value(model))


def test_a_backward_that_does_nothing():
    model = network()
    with pytest.raises(AusamError, match="backward left no gradient"):
        SAM(sgd(model), model).step(losses_of(model), backward=lambda loss: None)


def test_two_methods_that_share_a_closures_gradients():
    """A GAN: the generator's closure runs through the discriminator and leaves gradients there."""
    generator, critic = nn.Linear(4, 4), nn.Linear(4, 1)
    for_generator, for_critic = (SAM(sgd(m), m) for m in (generator, critic))
    for_generator.step(lambda: critic(generator(X)).squeeze(1))
    with pytest.raises(AusamError, match="2 parameters have a gradient that this method did not"):
        for_critic.step(lambda: -critic(X).squeeze(1))
    expected = nn.Linear(4, 1)
    expected.load_state_dict(critic.state_dict())
    for_critic.optimizer.zero_grad()
    for_critic.step(lambda: -critic(X).squeeze(1))
    alone = SAM(sgd(expected), expected)
    alone.step(lambda: -expected(X).squeeze(1))
    assert torch.equal(critic.weight, expected.weight)


def test_gradients_of_zeros_are_nobodys():
    model = network()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    assert SAM(sgd(model), model).step(losses_of(model)).finite


def test_a_closure_with_defaults_of_its_own_is_not_given_positions():
    model = network()
    method = ESAM(sgd(model), model, beta=1.0)
    with pytest.raises(AusamError, match="under the name subset"):
        method.step(lambda x=X, y=Y: F.cross_entropy(model(x), y, reduction="none"))
    result = method.step(
        lambda x=X, y=Y, subset=slice(None): F.cross_entropy(
            model(x[subset]), y[subset], reduction="none"
        )
    )
    assert result.finite and result.after.shape == (8,)


@pytest.mark.parametrize("compiled", [False, True])
def test_esam_with_frozen_parameters(compiled):
    model = network()
    model[0].requires_grad_(False)
    frozen = model[0].weight.detach().clone()
    run = torch.compile(model, backend="eager") if compiled else model
    method = ESAM(sgd(model), run, beta=0.3, gamma=1.0)
    for _ in range(8):
        assert method.step(losses_of(run)).finite
    assert torch.equal(model[0].weight, frozen)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]


def test_esam_leaves_the_flags_of_a_compiled_model_alone():
    model = network()
    compiled = torch.compile(model, backend="eager")
    method = ESAM(sgd(model), compiled, beta=0.3, gamma=1.0)
    seen = set()

    def closure():
        seen.add(tuple(p.requires_grad for p in model.parameters()))
        return losses_of(compiled)()

    for _ in range(6):
        method.step(closure)
    assert seen == {(True,) * 4}


def test_what_is_a_share_of_the_run_wants_its_length():
    model = network()
    with pytest.raises(AusamError, match=r"call method.begin_run\(epochs, steps\)"):
        SAM(sgd(model), model, start=0.5).step(losses_of(model))
    with pytest.raises(AusamError, match=r"call method.begin_run\(epochs, steps\)"):
        AESAM(sgd(model), model).step(losses_of(model))


def test_a_part_that_ascends_wants_to_know_the_batch():
    model = network()
    with pytest.raises(AusamError, match="ascent=0.5 climbs by a part of the batch"):
        SAM(sgd(model), model, ascent=0.5).step(losses_of(model))


@pytest.mark.parametrize("settings", [dict(start=1.0), dict(start=-0.1), dict(ascent=0)])
def test_a_share_outside_its_range(settings):
    model = network()
    with pytest.raises(AusamError, match="is a share of the"):
        SAM(sgd(model), model, **settings)
