"""SAM's step, held against a reference of a few lines and against its identities."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ausam_core import SAM, AusamError, Base, in_second_pass

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
}


def network(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return nn.Sequential(
        # no bias before BatchNorm: its gradient is rounding noise, which Adam makes a full step of
        nn.Linear(6, 12, bias=False),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(12, 3),
    )


def batches(count, seed=1, size=16):
    g = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, 6, generator=g), torch.randint(3, (size,), generator=g))
        for _ in range(count)
    ]


def losses(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="none")


def reference_step(model, optimizer, batch, rho):
    """SAM as one would write it on a blackboard."""
    losses(model, batch).mean().backward()
    parameters = list(model.parameters())
    norm = torch.stack([p.grad.norm() for p in parameters]).norm()
    old = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p in parameters:
            p += rho * p.grad / (norm + 1e-12)
    optimizer.zero_grad()
    statistics = {n: b.clone() for n, b in model.named_buffers()}
    losses(model, batch).mean().backward()
    with torch.no_grad():
        for p, w in zip(parameters, old, strict=True):
            p.copy_(w)
        for n, b in model.named_buffers():
            b.copy_(statistics[n])
    optimizer.step()
    optimizer.zero_grad()


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sam_is_the_reference(name):
    ours, theirs = network(), network()
    optimizer = OPTIMIZERS[name](theirs.parameters())
    method = SAM(OPTIMIZERS[name](ours.parameters()), ours, rho=0.1)
    for batch in batches(5):
        method.step(lambda: losses(ours, batch))  # noqa: B023
        reference_step(theirs, optimizer, batch, 0.1)
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rho_zero_is_the_base_optimizer_to_the_bit(name):
    a, b, plain = network(), network(), network()
    sam = SAM(OPTIMIZERS[name](a.parameters()), a, rho=0.0)
    base = Base(OPTIMIZERS[name](b.parameters()), b)
    optimizer = OPTIMIZERS[name](plain.parameters())
    for batch in batches(5):
        sam.step(lambda: losses(a, batch))  # noqa: B023
        base.step(lambda: losses(b, batch))  # noqa: B023
        losses(plain, batch).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert equal(a, plain) and equal(b, plain)


def test_the_result_holds_the_losses_before_and_after():
    model, batch = network(), batches(1)[0]
    before = losses(model, batch).detach()
    result = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model, 0.5).step(
        lambda: losses(model, batch)
    )
    assert torch.equal(result.before, before) and result.loss == before.mean()
    assert result.after.mean() > result.before.mean(), "climbing must raise the loss"
    assert torch.equal(result.difference, (result.after - result.before).abs())
    assert not result.before.requires_grad and not result.after.requires_grad


def test_base_gives_no_losses_after():
    model, batch = network(), batches(1)[0]
    result = Base(torch.optim.SGD(model.parameters(), lr=0.1), model).step(
        lambda: losses(model, batch)
    )
    assert result.before is not None and result.after is None and result.difference is None


def test_running_statistics_move_once_a_step():
    model, once, batch = network(), network(), batches(1)[0]
    SAM(torch.optim.SGD(model.parameters(), lr=0.1), model).step(lambda: losses(model, batch))
    losses(once, batch)
    assert torch.equal(model[1].running_mean, once[1].running_mean)
    assert model[1].num_batches_tracked == 1


@pytest.mark.parametrize("failing_pass", [1, 2])
def test_weights_are_those_before_when_a_pass_raises(failing_pass):
    model, batch = network(), batches(1)[0]
    method = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model, rho=0.5)
    before = [p.detach().clone() for p in model.parameters()]

    def closure():
        if in_second_pass() == (failing_pass == 2):
            raise RuntimeError("out of memory")
        return losses(model, batch)

    with pytest.raises(RuntimeError, match="out of memory"):
        method.step(closure)
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True))
    assert not in_second_pass() and model[1].track_running_stats
    method.step(lambda: losses(model, batch))


def test_accumulation_adds_what_each_batch_finds_at_its_own_worst_point():
    model, alone = network(), network()
    method = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model, rho=0.2)
    expected = [torch.zeros_like(p) for p in alone.parameters()]
    for batch in batches(3):
        method.accumulate(lambda: losses(model, batch), factor=1 / 3)  # noqa: B023
        single = SAM(torch.optim.SGD(alone.parameters(), lr=0.1), alone, rho=0.2)
        single.accumulate(lambda: losses(alone, batch))  # noqa: B023
        for e, p in zip(expected, alone.parameters(), strict=True):
            e += p.grad / 3
        alone.zero_grad()
    for e, p in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, e)
    method.update()
    assert all(p.grad is None for p in model.parameters())


def test_the_norm_in_the_result_is_free_of_scale_and_factor():
    norms = []
    for factor, scaler in ((1.0, None), (0.25, None), (0.5, torch.amp.GradScaler("cpu"))):
        model, batch = network(), batches(1)[0]
        method = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model, scaler=scaler)
        result = method.accumulate(lambda: losses(model, batch), factor=factor)  # noqa: B023
        norms.append(float(result.grad_norm))
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-4)


def test_a_loss_scaler_changes_nothing_but_rounding():
    plain, scaled = network(), network()
    a = SAM(torch.optim.SGD(plain.parameters(), lr=0.1), plain)
    b = SAM(
        torch.optim.SGD(scaled.parameters(), lr=0.1), scaled, scaler=torch.amp.GradScaler("cpu")
    )
    for batch in batches(4):
        a.step(lambda: losses(plain, batch))  # noqa: B023
        b.step(lambda: losses(scaled, batch))  # noqa: B023
    for p, q in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("bad_pass", [1, 2])
@pytest.mark.parametrize("fused", [True, False])
def test_an_overflow_in_either_pass_backs_the_scale_off_and_leaves_the_weights(bad_pass, fused):
    model, batch = network(), batches(1)[0]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    method = SAM(optimizer, model, scaler=scaler)
    before = [p.detach().clone() for p in model.parameters()]

    def closure():
        value = losses(model, batch)
        return value * float("inf") if in_second_pass() == (bad_pass == 2) else value

    result = method.step(closure)
    assert not result.finite and scaler.get_scale() == 512.0
    assert method.skipping.read()[0] == 1
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), before, strict=True))


def test_clipping_bounds_the_gradient_of_the_update_and_not_the_perturbation():
    model, batch = network(), batches(1)[0]
    method = SAM(torch.optim.SGD(model.parameters(), lr=1.0), model, clip_grad_norm=1e-3)
    twin = copy.deepcopy(model)
    free = SAM(torch.optim.SGD(twin.parameters(), lr=1.0), twin)
    before = [p.detach().clone() for p in model.parameters()]
    clipped = method.step(lambda: losses(model, batch))
    unclipped = free.accumulate(lambda: losses(free.model, batch))
    moved = [p.detach() - w for p, w in zip(model.parameters(), before, strict=True)]
    assert float(torch.cat([m.flatten() for m in moved]).norm()) == pytest.approx(1e-3, rel=1e-3)
    assert clipped.grad_norm > 1e-2 and unclipped.before.mean() == clipped.before.mean()


def test_replayed_randomness_gives_pass_two_the_same_dropout_mask():
    """With ρ=0 both passes are the same function, so any difference is the mask's."""
    differences = []
    for replay in (False, True):
        model, batch = network(dropout=0.5), batches(1)[0]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        method = SAM(optimizer, model, rho=0.0, replay_random_state=replay)
        torch.manual_seed(3)
        differences.append(method.step(lambda: losses(model, batch)).difference.max())  # noqa: B023
    assert differences[0] > 0 and differences[1] == 0


@pytest.mark.parametrize("scaled", [False, True])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(scaled, tmp_path):
    def start():
        model = network(dropout=0.3)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
        scaler = torch.amp.GradScaler("cpu", growth_interval=2) if scaled else None
        return model, SAM(optimizer, model, scaler=scaler)

    model, method = start()
    for batch in batches(3):
        method.step(lambda: losses(model, batch))  # noqa: B023
    torch.save({"model": model.state_dict(), "method": method.state_dict()}, tmp_path / "c.pt")
    saved = torch.load(tmp_path / "c.pt", weights_only=True)
    for batch in batches(3, seed=9):
        method.step(lambda: losses(model, batch))  # noqa: B023
    resumed, again = start()
    resumed.load_state_dict(saved["model"])
    again.load_state_dict(saved["method"])
    for batch in batches(3, seed=9):
        again.step(lambda: losses(resumed, batch))  # noqa: B023
    assert equal(model, resumed)


class Operators(TorchDispatchMode):
    """Counts what reaches the kernels; the profiler's marks are not work."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.namespace != "profiler"
        return func(*args, **(kwargs or {}))


def operators_of_a_step(layers, **settings):
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers)))
    method = SAM(torch.optim.Adam(model.parameters(), fused=True), model, **settings)
    x = torch.randn(2, 4)

    def closure():
        return model(x).square().sum(1)

    method.step(closure)
    with Operators() as step:
        method.step(closure)
    with Operators() as passes:
        closure().mean().backward()
    return step.count - 2 * passes.count


@pytest.mark.skipif(
    not hasattr(nn.Module, "set_submodule"), reason="torch 2.4 takes three operators more"
)
def test_a_step_adds_at_most_thirty_operators():
    assert operators_of_a_step(2) <= 30


def test_a_step_adds_as_many_operators_for_any_number_of_parameters():
    assert operators_of_a_step(40) == operators_of_a_step(2)


def test_bad_requests_are_refused():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(AusamError, match="rho must be 0 or more"):
        SAM(optimizer, model, rho=-1)
    with pytest.raises(AusamError, match="found 'here'"):
        SAM(optimizer, model, perturb="here")
    with pytest.raises(AusamError, match="goes around a torch optimizer, found list"):
        SAM(list(model.parameters()), model)
    with pytest.raises(AusamError, match="before any accumulate"):
        SAM(optimizer, model).update()
