"""A late start, weights of samples and accumulation mean the same to every method."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ausam_core import (
    AESAM,
    ESAM,
    KSAM,
    MESA,
    MSAM,
    SAM,
    AusamError,
    Base,
    Batch,
    ForwardRecord,
    LookSAM,
)
from ausam_core.batch import Weights
from tests.ausam_core.methods.test_all_methods import (
    METHODS,
    N,
    batches,
    closure_of,
    equal,
    network,
    run,
    sgd,
)
from tests.ausam_core.methods.test_all_methods import start as method_of


def test_mesa_looks_up_to_the_weights_from_which_it_began():
    model = network()
    method = MESA(sgd(model.parameters()), model, decay=0.5, start=0.5)
    method.begin_run(4, 12)
    run(model, method, list(batches())[:6])
    begun_with = [p.detach().clone() for p in model.parameters()]
    run(model, method, list(batches())[6:7])
    assert all(map(torch.equal, begun_with, method._average))


def test_mesa_averages_once_an_update_however_many_batches_it_is_made_of():
    model, method = method_of("MESA")
    for _ in range(2):
        for batch in list(batches(1)):
            method.accumulate(closure_of(model, batch), batch=batch, factor=1 / 3)
        method.update()
    assert method.steps == 2


def test_ae_sam_moves_its_threshold_over_the_part_of_the_run_in_which_it_works():
    model = network()
    method = AESAM(sgd(model.parameters()), model, start=0.75)
    method.begin_run(4, 12)
    run(model, method, batches())
    assert method.steps == method.total_steps == 3


def test_a_method_begins_with_its_epoch_also_where_there_are_fewer_batches_than_planned():
    """As with InfoBatch, or a loop that skips some."""
    model = network()
    method = SAM(sgd(model.parameters()), model, rho=0.1, start=0.75)
    method.begin_run(4, 12)
    fewer = [b for b in batches() if b.indices[0] == 0]
    results = run(model, method, fewer)
    assert [r.after is not None for r in results] == [False, False, False, True]


def test_without_a_batch_the_border_is_counted_in_updates():
    model = network()
    method = SAM(sgd(model.parameters()), model, rho=0.1, start=0.75)
    method.begin_run(4, 12)
    results = [method.step(closure_of(model, b)) for b in batches()]
    assert [r.after is not None for r in results] == [False] * 9 + [True] * 3


ONE_PASS = {
    "Base": (Base, {}),
    "MSAM": (MSAM, {}),
    "SAM that waits": (SAM, dict(start=0.5)),
    "AE-SAM that finds nothing sharp": (AESAM, dict(lambda_1=1e9, lambda_2=1e9)),
    "LookSAM between two SAM steps": (LookSAM, dict(k=100)),
}


@pytest.mark.parametrize("loss", ["before", "after", "both"])
@pytest.mark.parametrize("case", ONE_PASS)
def test_weights_count_in_the_pass_that_makes_the_update_if_it_is_the_only_one(case, loss):
    cls, settings = ONE_PASS[case]
    found = {}
    for weight in (1.0, 3.0):
        model = network()
        method = cls(torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), model, **settings)
        method.begin_run(4, 12)
        first, second = list(batches())[:2]
        method.step(closure_of(model, first), batch=first)
        weights = Weights(torch.full((len(second),), weight), loss)
        batch = Batch(second.indices, second.size, second.epoch, weights)
        method.accumulate(closure_of(model, batch), batch=batch)
        found[weight] = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    if case.startswith("LookSAM"):  # its reused direction is scaled by the same norm
        assert found[3.0] > 2 * found[1.0]
    else:
        assert torch.isclose(found[3.0], 3 * found[1.0])


def test_mesa_weighs_its_term_too():
    norms = []
    for weight in (1.0, 3.0):
        model = network()
        method = MESA(sgd(model.parameters()), model, decay=0.0, lam=100.0)
        first, second = list(batches())[:2]
        method.step(closure_of(model, first), batch=first)
        weights = Weights(torch.full((len(second),), weight), "before")
        batch = Batch(second.indices, second.size, 0, weights)
        method.accumulate(closure_of(model, batch), batch=batch)
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
    assert torch.isclose(norms[1], 3 * norms[0])


def test_weights_of_one_leave_a_penalty_in_the_loss():
    model = network()
    method = Base(sgd(model.parameters()), model)
    batch = next(batches())
    weighted = Batch(batch.indices, batch.size, 0, Weights(torch.ones(len(batch)), "both"))

    def closure():
        losses = F.cross_entropy(model(torch.ones(16, 6)), torch.zeros(16).long(), reduction="none")
        return ForwardRecord(losses.mean() + 5 * model[0].weight.square().sum(), losses)

    plain = closure().total
    assert torch.isclose(method.step(closure, batch=weighted).loss, plain)


class Recomputed(nn.Module):
    """A block whose activations are computed again in the backward pass."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 12))
        self.last = nn.Linear(12, 3)

    def forward(self, x):
        return self.last(checkpoint(self.block, x, use_reentrant=False).relu())


class Scaled(nn.Module):
    """A layer that divides by a buffer which its own forward moves."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.register_buffer("scale", torch.ones(3))

    def forward(self, x):
        x = self.layer(x)
        if self.training:
            with torch.no_grad():
                self.scale.lerp_(x.abs().mean(0), 0.1)
        return x / self.scale


@pytest.mark.parametrize("kind", [Recomputed, Scaled])
@pytest.mark.parametrize("name", METHODS)
def test_a_backward_that_runs_the_forward_again_or_reads_its_buffers(name, kind):
    cls, settings = METHODS[name]
    model = kind()
    method = cls(sgd(model.parameters()), model, **settings)
    method.begin_run(4, 12)
    results = run(model, method, batches())
    assert all(bool(r.finite) for r in results)


def test_esam_draws_again_where_all_that_the_loss_depends_on_rests():
    model = nn.ModuleDict({"used": nn.Linear(6, 3), "unused": nn.Linear(6, 3)})
    method = ESAM(sgd(model.parameters()), model, rho=0.1, beta=0.3)
    for batch in batches(8):
        method.step(closure_of(model["used"], batch), batch=batch)
    assert all(p.requires_grad for p in model.parameters())


class WithTeacher(nn.Module):
    """A student, and a teacher that the forward pass averages, as in MoCo and BYOL."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = network(), network()
        self.teacher.requires_grad_(False)

    def forward(self, x):
        pairs = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
        with torch.no_grad():
            for slow, fast in pairs:
                slow.lerp_(fast, 0.5)
        return self.student(x)


@pytest.mark.parametrize("name", METHODS)
def test_a_teacher_in_the_model_never_sees_perturbed_weights(name):
    cls, settings = METHODS[name]
    model = WithTeacher()
    still = torch.optim.SGD(model.student.parameters(), lr=0.0, momentum=0.9)
    method = cls(still, model, **settings)
    method.begin_run(4, 12)
    run(model, method, batches(1))
    if cls is MSAM:  # its one pass is at w + ε: no update, no momentum, no step away
        return
    for slow, fast in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
        assert torch.allclose(slow, fast, atol=1e-7)


def test_a_pattern_may_stand_alone():
    ends = []
    for exclude in ("bias", ["bias"]):
        model = network()
        run(model, SAM(sgd(model.parameters()), model, rho=0.5, exclude=exclude), batches())
        ends.append(model)
    base = network()
    run(base, Base(sgd(base.parameters()), base), batches())
    assert equal(*ends) and not equal(ends[0], base)


def test_a_method_with_patterns_can_be_pickled():
    model = network()
    method = SAM(sgd(model.parameters()), model, exclude=["bias"])
    assert pickle.loads(pickle.dumps(method)).perturbation.excluded("0.bias", None)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "SAM_late"])
def test_the_state_of_another_method_is_refused_and_nothing_is_taken_over(name):
    model, method = method_of(name)
    run(model, method, list(batches())[:2])
    other_model = network()
    other = type("Own", (SAM,), {})(sgd(other_model.parameters()), other_model)
    before = other.optimizer.state_dict()
    with pytest.raises(AusamError, match=f"the saved state is of {type(method).__name__}, and the"):
        other.load_state_dict(method.state_dict())
    assert other.optimizer.state_dict() == before and other.updates == 0


def test_a_bad_first_batch_leaves_no_nan_in_the_running_statistics():
    model = network()
    method = SAM(sgd(model.parameters()), model)
    batch = next(batches())

    def closure():
        x = torch.full((16, 6), torch.nan)
        return F.cross_entropy(model(x), torch.zeros(16).long(), reduction="none")

    method.step(closure, batch=batch)
    assert method.check() == 1
    assert all(b.isfinite().all() for b in model.buffers())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda: ForwardRecord(torch.ones(3, requires_grad=True)), r"total has shape \[3\]"),
        (lambda: torch.ones(0, requires_grad=True), "the losses of no sample"),
    ],
)
def test_a_record_that_cannot_be_differentiated_is_one_sentence(value, says):
    model = network()
    with pytest.raises(AusamError, match=says):
        Base(sgd(model.parameters()), model).step(value)


def test_a_radius_or_a_norm_below_zero_is_refused():
    model = network()
    with pytest.raises(AusamError, match="clip_grad_norm is the largest norm"):
        Base(sgd(model.parameters()), model, clip_grad_norm=-1)
    method = SAM(sgd(model.parameters()), model)
    with pytest.raises(AusamError, match="rho must be 0 or more"):
        method.perturbation.rho = -3.0


def test_a_bad_batch_among_several_is_skipped_also_where_only_its_result_says_so():
    class Careful(Base):
        """Finds its second batch bad, whose gradient is finite."""

        def gradient(self, passes):
            result = self.plain_gradient(passes)
            result.finite = result.finite & (passes.batch.indices[0] == 0)
            return result

    model = network()
    method = Careful(sgd(model.parameters()), model)
    before = [p.detach().clone() for p in model.parameters()]
    for batch in list(batches(1))[:2]:
        method.accumulate(closure_of(model, batch), batch=batch, factor=0.5)
    method.update()
    assert method.check() == 1 and all(map(torch.equal, before, model.parameters()))


def test_k_sam_has_seen_all_samples():
    model = network()
    method = KSAM(sgd(model.parameters()), model, gamma=0.5)
    batch = Batch(list(range(N)), N)
    assert len(method.step(closure_of(model, batch), batch=batch).before) == N
