"""Model and optimizer are not bare: what others put around them changes nothing."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from ausam_core import GSAM, SAM, AusamError, Base
from ausam_core.wrappers import inner_optimizers, parameter_names, unwrapped

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (16,), generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def losses_of(model, factor=1.0):
    return lambda: F.cross_entropy(model(X * factor), Y, reduction="none")


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Delegating:
    """An optimizer in the way of Accelerate: no torch optimizer, hands on what it is asked."""

    accumulating = False

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def __getattr__(self, name):
        if name == "optimizer":
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def step(self, closure=None):
        if not self.accumulating:
            self.optimizer.step(closure)

    def zero_grad(self, set_to_none=True):
        if not self.accumulating:
            self.optimizer.zero_grad(set_to_none)


class Scaling(Delegating):
    """One that steps through a loss scaler of its own, as Accelerate does in fp16."""

    def __init__(self, optimizer, scaler):
        super().__init__(optimizer)
        self.scaler = scaler

    def step(self, closure=None):
        self.scaler.step(self.optimizer)
        self.scaler.update()


class Chained:
    """Several optimizers in one, as Megatron has it."""

    def __init__(self, *optimizers):
        self.chained_optimizers = list(optimizers)

    @property
    def param_groups(self):
        return [g for o in self.chained_optimizers for g in o.param_groups]

    def step(self):
        for optimizer in self.chained_optimizers:
            optimizer.step()

    def zero_grad(self):
        for optimizer in self.chained_optimizers:
            optimizer.zero_grad()


def sgd(parameters, **settings):
    return torch.optim.SGD(parameters, **{"lr": 0.1, "momentum": 0.9, **settings})


WRAPPED = {
    "bare": lambda m, **s: sgd(m.parameters(), **s),
    "wrapped": lambda m, **s: Delegating(sgd(m.parameters(), **s)),
    "wrapped twice": lambda m, **s: Delegating(Delegating(sgd(m.parameters(), **s))),
    "a chain of two": lambda m, **s: Chained(
        sgd(m[:2].parameters(), **s), Delegating(sgd(m[2:].parameters(), **s))
    ),
}


@pytest.mark.parametrize("method", [Base, SAM, GSAM])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_optimizer_takes_the_step_of_the_bare_one(name, fused, method):
    model, bare = network(), network()
    ours = method(WRAPPED[name](model, fused=fused), model)
    reference = method(sgd(bare.parameters(), fused=fused), bare)
    for _ in range(3):
        ours.step(losses_of(model))
        reference.step(losses_of(bare))
    assert torch.equal(flat(model), flat(bare))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("first", [False, True], ids=["later", "in the first step"])
def test_a_step_that_is_not_finite_is_skipped_whatever_wraps_the_optimizer(name, fused, first):
    model = network()
    method = SAM(WRAPPED[name](model, fused=fused), model)
    if not first:
        method.step(losses_of(model))
    before = flat(model)
    method.step(losses_of(model, float("nan")))
    assert torch.equal(flat(model), before)
    for buffer in model.buffers():
        buffer.zero_()
    method.step(losses_of(model))
    assert flat(model).isfinite().all() and not torch.equal(flat(model), before)


@pytest.mark.parametrize("scaled", [False, True])
def test_momentum_after_a_skipped_first_step_is_that_of_a_run_without_it(scaled):
    """A fused kernel that is told to skip leaves new momentum as the allocator gave it."""

    def end(skip):
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0) if scaled else None
        optimizer = sgd(model.parameters(), fused=True, dampening=0.5)
        method = SAM(optimizer, model, scaler=scaler)
        if skip:
            method.step(losses_of(model, float("inf")))
            assert not optimizer.state
        for _ in range(2):
            method.step(losses_of(model))
        return flat(model)

    torch.testing.assert_close(end(True), end(False), rtol=1e-6, atol=0)


def test_zero_grad_that_does_nothing_while_accumulating_is_not_relied_on():
    """Two batches by ``step``, of which the wrapper lets only the second act."""
    model, plain = network(), network()
    optimizer = Delegating(sgd(model.parameters()))
    method, reference = SAM(optimizer, model), SAM(sgd(plain.parameters()), plain)
    for accumulating in (True, False, True, False):
        optimizer.accumulating = accumulating
        method.step(lambda: losses_of(model)() / 2)
        reference.accumulate(losses_of(plain), factor=0.5)
        if not accumulating:
            reference.update()
    torch.testing.assert_close(flat(model), flat(plain))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("bad_pass", [None, 1, 2])
def test_a_scaler_within_a_wrapped_optimizer_works(bad_pass):
    from ausam_core import in_second_pass

    model, plain = network(), network()
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    optimizer = Scaling(sgd(model.parameters()), scaler)
    method = SAM(optimizer, model)
    reference = SAM(sgd(plain.parameters()), plain)

    def closure():
        bad = bad_pass == (2 if in_second_pass() else 1)
        return losses_of(model)() * (float("inf") if bad else 1.0)

    result = method.step(closure, backward=lambda loss: scaler.scale(loss).backward())
    if bad_pass is None:
        expected = reference.step(losses_of(plain))
        torch.testing.assert_close(flat(model), flat(plain))
        torch.testing.assert_close(result.grad_norm, expected.grad_norm)
    else:
        assert torch.equal(flat(model), flat(network())) and scaler.get_scale() == 32.0
        assert method.skipping.read()[0] == 1


def test_clipping_what_a_wrapped_optimizer_will_unscale_is_refused():
    model = network()
    optimizer = Scaling(sgd(model.parameters()), torch.amp.GradScaler("cpu"))
    method = SAM(optimizer, model, clip_grad_norm=1.0)
    with pytest.raises(AusamError, match="a wrapped optimizer will unscale"):
        method.step(losses_of(model))


def test_a_backward_of_the_frameworks_own_is_called_in_both_passes_and_may_scale():
    model, plain, seen = network(), network(), []

    def backward(loss):
        seen.append(float(loss.detach()))
        (loss / 4).backward()

    result = SAM(sgd(model.parameters(), lr=0.4), model).step(losses_of(model), backward=backward)
    expected = SAM(sgd(plain.parameters()), plain).step(losses_of(plain))
    assert len(seen) == 2 and seen[1] > seen[0]
    torch.testing.assert_close(flat(model), flat(plain))
    torch.testing.assert_close(result.grad_norm, expected.grad_norm)


def test_a_groups_key_that_means_something_to_the_optimizer_is_not_our_radius():
    """Adadelta's groups hold a decay under the name rho."""
    model = network()
    method = SAM(torch.optim.Adadelta(model.parameters(), rho=0.9), model, rho=0.05)
    assert method.perturbation.radius_of(method.optimizer.param_groups[0]) == 0.05
    ours = SAM(torch.optim.SGD([{"params": model.parameters(), "rho": 0.2}], lr=0.1), model)
    assert ours.perturbation.radius_of(ours.optimizer.param_groups[0]) == 0.2


COVERS = {
    "compiled": lambda m: torch.compile(m, backend="eager"),
    "DataParallel": nn.DataParallel,
    "compiled DataParallel": lambda m: torch.compile(nn.DataParallel(m), backend="eager"),
    "a part compiled": lambda m: nn.Sequential(torch.compile(m[0], backend="eager"), *m[1:]),
    "a part checkpointed": lambda m: nn.Sequential(*m[:3], checkpoint_wrapper(m[3])),
}


@pytest.mark.parametrize("name", COVERS)
def test_names_are_those_of_the_model_without_wrappers(name):
    model = network()
    names = list(dict(network().named_parameters()))
    covered = COVERS[name](model)
    assert list(parameter_names(covered).values()) == names
    method = SAM(sgd(model.parameters()), covered, exclude=[r"^3\."])
    F.cross_entropy(model(X), Y).backward()
    moved = {id(p) for p in method.perturbation.parameters()}
    assert [n for n, p in model.named_parameters() if id(p) not in moved] == ["3.weight", "3.bias"]


def test_a_module_of_ones_own_may_be_called_module():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    assert list(parameter_names(Own()).values()) == ["module.weight", "module.bias"]
    own = Own()
    assert unwrapped(nn.DataParallel(own)) is own and unwrapped(own) is own


def test_a_pattern_that_matches_nothing_is_said_at_once():
    model = network()
    with pytest.raises(AusamError, match=r"exclude names '\^9', which no parameter's name matches"):
        SAM(sgd(model.parameters()), model, exclude=["^9"])


def test_an_optimizer_within_others_is_found():
    inner = sgd(network().parameters())
    assert inner_optimizers(inner) == [inner]
    assert inner_optimizers(Delegating(Delegating(inner))) == [inner]
    assert inner_optimizers(Chained(inner, Delegating(inner))) == [inner, inner]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_as_the_model(backend):
    model, plain = network(), network()
    compiled = torch.compile(copy.deepcopy(model), backend=backend)
    for cls in (SAM, GSAM):
        ours = cls(sgd(compiled.parameters()), compiled)
        reference = cls(sgd(plain.parameters()), plain)
        for _ in range(2):
            ours.step(losses_of(compiled))
            reference.step(losses_of(plain))
    torch.testing.assert_close(flat(compiled), flat(plain))


def test_zero_redundancy_optimizer_is_a_wrapper_too(tmp_path):
    from torch import distributed as dist
    from torch.distributed.optim import ZeroRedundancyOptimizer

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model, plain = network(), network()
        optimizer = ZeroRedundancyOptimizer(
            model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9
        )
        ours, reference = SAM(optimizer, model), SAM(sgd(plain.parameters()), plain)
        for _ in range(3):
            ours.step(losses_of(model))
            reference.step(losses_of(plain))
        assert torch.equal(flat(model), flat(plain))
        ours.step(losses_of(model, float("nan")))
        assert torch.equal(flat(model), flat(plain))
    finally:
        dist.destroy_process_group()
