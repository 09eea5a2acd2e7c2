"""What is recorded is the loss that is differentiated, whatever the model does with its losses."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ausam_core import AusamError, PerSampleLossRecorder, register_per_sample_loss

N = 6
_generator = torch.Generator().manual_seed(0)
X, Y = torch.randn(N, 3, generator=_generator), torch.randn(N, 3, generator=_generator)
SQUARES = (X - Y).square().mean(1)


class Own(nn.Module):
    """A loss that nobody registered."""

    def forward(self, x, y):
        return (x - y).abs().mean()


class Model(nn.Module):
    """Modules by name, and a function of (model, x, y) that computes the loss with them."""

    def __init__(self, compute, **modules):
        super().__init__()
        self.compute = compute
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x=X, y=Y):
        return self.compute(self, x, y)


def record(model, *args, recorder=None):
    """(total, loss of each sample, recorder) of one pass, which is checked."""
    recorder = recorder or PerSampleLossRecorder(model)
    with recorder.recording():
        total = model(*args)
    values = recorder.losses()
    assert recorder.check(total)
    return total, values, recorder


def is_refused(model, match, **kwargs):
    recorder = PerSampleLossRecorder(model, **kwargs)
    with recorder.recording():
        total = model()
    with pytest.raises(AusamError, match=match):
        recorder.losses()
        recorder.check(total)


def test_a_loss_without_handler_beside_one_that_has_one_is_not_left_out():
    model = Model(
        lambda m, x, y: m.loss_a(x, y) + m.loss_b(x, y), loss_a=nn.MSELoss(), loss_b=Own()
    )
    with pytest.warns(UserWarning, match=r"no handler.*Own \(loss_b\)"):
        _, values, recorder = record(model)
    assert recorder.watched == ["loss_a", "loss_b"]
    torch.testing.assert_close(values, SQUARES + (X - Y).abs().mean(1))


@pytest.mark.filterwarnings("ignore:no handler")
@pytest.mark.parametrize(
    ("compute", "match"),
    [
        (lambda m, x, y: 1e-6 * m.loss_a(x, y) + m.loss_b(x, y), "loss_a.*loss_b.*too much"),
        (lambda m, x, y: m.loss_a(x, y) + m.loss_b(x, y) + x.square().sum(), "loss_b.*is missing"),
        (lambda m, x, y: 3 * m.loss_a(x, y), "the total is .*loss_a.*is missing"),
        (lambda m, x, y: F.l1_loss(x, y), r"\(loss_a, loss_b\) ran"),
        (lambda m, x, y: m.loss_a(x, y) + F.cross_entropy(x, y.argmax(1)), "loss_a.*is missing"),
    ],
    ids=["factor", "function", "scale", "none ran", "functional"],
)
def test_a_part_of_the_loss_that_is_not_seen_is_refused_by_name(compute, match):
    is_refused(Model(compute, loss_a=nn.MSELoss(), loss_b=Own()), match)


def test_named_modules_count_alone_and_what_they_leave_out_is_said_once():
    model = Model(lambda m, x, y: m.loss_a(x, y) + x.square().sum(), loss_a=nn.MSELoss())
    recorder = PerSampleLossRecorder(model, ["loss_a"])
    with pytest.warns(UserWarning, match="loss_a.*is missing") as said:
        for _ in range(3):
            _, values, _ = record(model, recorder=recorder)
    assert len(said) == 1
    torch.testing.assert_close(values, SQUARES)


@pytest.mark.parametrize("reduce", [torch.mean, torch.Tensor.mean], ids=["mean", "method"])
def test_a_loss_that_is_not_reduced_in_its_module(reduce):
    model = Model(
        lambda m, x, y: reduce(m.loss_module(x, y)), loss_module=nn.MSELoss(reduction="none")
    )
    torch.testing.assert_close(record(model)[1], SQUARES)
    model = Model(
        lambda m, x, y: m.loss_module(x, y).sum(), loss_module=nn.MSELoss(reduction="none")
    )
    is_refused(model, "loss_module.*is missing")


class PerSample(nn.Module):
    def forward(self, x, y):
        return (x - y).square().mean(1)


@pytest.mark.filterwarnings("error")
def test_a_module_that_returns_the_loss_of_each_sample_needs_no_handler():
    def compute(m, x, y):
        losses = m.loss_module(x, y)
        losses *= 1.0
        return losses.mean()

    torch.testing.assert_close(record(Model(compute, loss_module=PerSample()))[1], SQUARES)
    changed = Model(lambda m, x, y: m.loss_module(x, y).mul_(3).mean(), loss_module=PerSample())
    is_refused(changed, "loss_module.*is missing")


@pytest.mark.parametrize("in_place", [False, True])
def test_a_module_that_is_called_several_times_adds_up(in_place):
    """As the heads of hourglass and MSPN networks do."""

    def compute(m, x, y):
        total = m.loss_module(x, y)
        for k in (2, 3):
            loss = m.loss_module(k * x, y)
            if in_place:
                total += loss
            else:
                total = total + loss
        return total

    x = X.clone().requires_grad_()
    model = Model(compute, loss_module=nn.MSELoss())
    total, values, _ = record(model, x, Y)
    expected = sum((k * X - Y).square().mean(1) for k in (1, 2, 3))
    torch.testing.assert_close(values, expected)
    assert not values.requires_grad
    (gradient,) = torch.autograd.grad(total, x)
    (plain,) = torch.autograd.grad(compute(model, x, Y), x)
    assert torch.equal(gradient, plain)


class Outer(nn.Module):
    """Has no handler; what it holds has one."""

    def __init__(self, factor):
        super().__init__()
        self.inner, self.factor = nn.MSELoss(), factor

    def forward(self, x, y):
        return self.factor * self.inner(x, y)


@pytest.mark.parametrize("name", ["loss_module", "loss", "kpt_loss", "criterion"])
def test_an_outer_loss_counts_and_not_its_parts(name):
    model = Model(lambda m, x, y: getattr(m, name)(x, y), **{name: Outer(3.0)})
    with pytest.warns(UserWarning, match="no handler.*Outer"):
        _, values, recorder = record(model)
    assert recorder.watched == [name]
    torch.testing.assert_close(values, 3 * SQUARES)


def test_an_outer_loss_that_cannot_be_known_as_one_is_refused():
    is_refused(Model(lambda m, x, y: m.objective(x, y), objective=Outer(3.0)), "objective.inner")
    model = Model(lambda m, x, y: m.objective(x, y), objective=Outer(1.0))
    torch.testing.assert_close(record(model)[1], SQUARES)  # the part is the whole


def test_a_network_is_not_taken_for_a_loss_by_its_name():
    net = nn.Sequential(nn.Linear(3, 3), nn.MSELoss())
    model = Model(lambda m, x, y: m.loss_a(m.model_with_loss[0](x), y), model_with_loss=net)
    model.loss_a = nn.MSELoss()
    assert PerSampleLossRecorder(model).watched == ["model_with_loss.1", "loss_a"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_batch_that_is_not_finite_proves_nothing(bad):
    model = Model(lambda m, x, y: m.loss_module(x, y) * 3, loss_module=nn.MSELoss())
    recorder = PerSampleLossRecorder(model)
    x = X.clone()
    x[0] = bad
    with recorder.recording():
        total = model(x)
    assert not recorder.check(total)
    with recorder.recording():
        total = model()
    with pytest.raises(AusamError, match="is missing"):
        recorder.check(total)
    assert not recorder.check(torch.tensor(bad))


def test_the_check_is_made_of_the_last_recording_at_any_time():
    model = Model(lambda m, x, y: m.loss_module(x, y), loss_module=nn.MSELoss())
    total, _, recorder = record(model)
    assert recorder.losses() is None  # given out once
    assert recorder.check(total) and recorder.check(total * N)
    with pytest.raises(AusamError, match="is missing"):
        recorder.check(total * 2)


def test_a_module_that_is_replaced_is_found_again():
    head = nn.ModuleDict(dict(loss_module=nn.MSELoss()))
    model = Model(lambda m, x, y: m.head["loss_module"](x, y), head=head)
    _, values, recorder = record(model)
    torch.testing.assert_close(values, SQUARES)
    model.head["loss_module"] = nn.L1Loss()
    torch.testing.assert_close(record(model, recorder=recorder)[1], (X - Y).abs().mean(1))
    model.head = nn.ModuleDict(dict(loss_module=nn.MSELoss()))
    torch.testing.assert_close(record(model, recorder=recorder)[1], SQUARES)
    assert not head["loss_module"]._forward_hooks  # no hook is left behind


def test_a_module_that_is_added_is_found_at_the_next_check():
    def compute(m, x, y):
        return sum(module(x, y) for module in m.children())

    model = Model(compute, loss_a=nn.MSELoss())
    recorder = record(model)[2]
    model.loss_b = nn.L1Loss()
    with recorder.recording():
        total = model()
    assert not recorder.check(total)  # it stays due
    torch.testing.assert_close(record(model, recorder=recorder)[1], SQUARES + (X - Y).abs().mean(1))


def test_modules_that_are_gone_are_missed():
    model = Model(lambda m, x, y: m.loss_a(x, y), loss_a=nn.MSELoss())
    recorder = record(model)[2]
    model.loss_a = None
    with pytest.raises(AusamError, match="watched \\(loss_a\\) are gone"):
        recorder.start()
    named = Model(lambda m, x, y: m.loss_a(x, y), loss_a=nn.MSELoss())
    recorder = PerSampleLossRecorder(named, ["loss_a"])
    del named.loss_a
    with pytest.raises(AusamError, match="'loss_a', which the model does not have"):
        recorder.start()


def test_names_are_those_without_wrappers():
    inner = Model(
        lambda m, x, y: m.loss_a(x, y), loss_a=torch.compile(nn.MSELoss(), backend="eager")
    )
    wrapped = nn.DataParallel(inner)
    for model in (inner, wrapped, torch.compile(wrapped, backend="eager")):
        for name in ("loss_a", "module.loss_a", "_orig_mod.module.loss_a"):
            assert PerSampleLossRecorder(model, [name]).watched == ["loss_a"]
        assert PerSampleLossRecorder(model).watched == ["loss_a"]
    with pytest.raises(AusamError, match="'inner', which lies within 'outer'|within 'loss_b'"):
        outer = Model(None, loss_b=Outer(1.0))
        PerSampleLossRecorder(outer, ["loss_b.inner", "loss_b"])


@pytest.mark.parametrize("full", [False, True], ids=["loss", "model"])
def test_a_compiled_model_is_recorded(full):
    model = Model(lambda m, x, y: m.loss_a(x, y), loss_a=nn.MSELoss())
    recorder = PerSampleLossRecorder(model)
    compiled = torch.compile(model, backend="eager") if full else model
    if not full:
        model.loss_a = torch.compile(model.loss_a, backend="eager")
    for _ in range(2):
        with recorder.recording():
            total = compiled(X, Y)
        torch.testing.assert_close(recorder.losses(), SQUARES)
        assert recorder.check(total)


def test_a_handler_that_fails_is_named():
    class Broken(nn.Module):
        def forward(self, x, y):
            return F.mse_loss(x, y)

    answers = [
        (lambda args: args[5], r"loss_a \(Broken\) with .*broken: IndexError"),
        (lambda args: args[0], r"broken of loss_a \(Broken\) .*and gave shape \[6, 3\]"),
        (lambda args: None, r"broken of loss_a \(Broken\) .*and gave NoneType"),
    ]

    def broken(module, args, kwargs):
        return answers[0][0](args)

    register_per_sample_loss(Broken)(broken)
    model = Model(lambda m, x, y: m.loss_a(x, y), loss_a=Broken())
    while answers:
        with pytest.raises(AusamError, match=answers[0][1]):
            record(model)
        del answers[0]


@pytest.mark.filterwarnings("ignore:no handler")
def test_calling_a_module_again_leaves_it_and_the_random_state_as_they_were():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))
            self.steps = 0

        def forward(self, x, y):
            self.seen += len(x)
            self.steps += 1
            return (F.dropout(x - y, 0.0)).square().mean()

    model = Model(lambda m, x, y: m.loss_a(x, y), loss_a=Counting())
    torch.manual_seed(3)
    plain = model(), torch.rand(1)
    model.loss_a.seen.zero_()
    model.loss_a.steps = 0
    torch.manual_seed(3)
    total, values, _ = record(model)
    assert (total, torch.rand(1)) == plain
    assert model.loss_a.seen == N and model.loss_a.steps == 1
    torch.testing.assert_close(values, SQUARES)


def test_batches_of_different_size_are_not_added():
    model = Model(lambda m, x, y: m.loss_a(x, y) + m.loss_b(x[:2], y[:2]), loss_a=nn.MSELoss())
    model.loss_b = nn.MSELoss()
    is_refused(model, r"cannot be added sample by sample \(loss_a: \[6\], loss_b: \[2\]\)")


def test_a_copy_of_the_model_is_not_recorded():
    model = Model(_two, loss_a=nn.MSELoss())
    recorder = PerSampleLossRecorder(model)
    teacher = copy.deepcopy(model)
    stored = pickle.loads(pickle.dumps(model))
    with recorder.recording():
        total = model()
        teacher(), stored()
    torch.testing.assert_close(recorder.losses(), SQUARES)
    assert recorder.check(total)


def _two(model, x, y):
    return model.loss_a(x, y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_any_floating_dtype(dtype):
    try:
        nn.MSELoss()(X.to(dtype), Y.to(dtype))
    except RuntimeError as error:  # bf16 on the CPU, in torch 2.4
        pytest.skip(str(error))

    def compute(m, x, y):
        total = m.loss_a(x, y)
        for _ in range(7):
            total += m.loss_b(x, y)
        return total

    model = Model(compute, loss_a=nn.MSELoss(), loss_b=nn.L1Loss())
    _, values, _ = record(model, X.to(dtype), Y.to(dtype))
    assert values.dtype == dtype
    expected = SQUARES + 7 * (X - Y).abs().mean(1)
    torch.testing.assert_close(values.float(), expected, rtol=5e-2, atol=5e-2)


def test_under_autocast_and_another_default_dtype():
    layer = nn.Linear(3, 3)
    model = Model(lambda m, x, y: m.loss_a(m.layer(x), y), loss_a=nn.MSELoss(), layer=layer)
    with torch.autocast("cpu", torch.bfloat16):
        record(model)
    torch.set_default_dtype(torch.float64)
    try:
        values = record(model.double(), X.double(), Y.double())[1]
    finally:
        torch.set_default_dtype(torch.float32)
    assert values.dtype == torch.float64


LOSSES = [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss(delta=0.5)]


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(st.tuples(st.integers(0, 3), st.floats(-3, 3)), min_size=1, max_size=6),
    size=st.integers(1, 9),
    in_place=st.booleans(),
)
def test_any_sum_of_losses_is_what_each_sample_gives_alone(calls, size, in_place):
    def compute(m, x, y):
        total = torch.zeros(())
        for k, factor in calls:
            loss = LOSSES[k](factor * x, y)
            total = total.add_(loss) if in_place else total + loss
        return total

    model = Model(compute, **{f"loss_{k}": LOSSES[k] for k in {k for k, _ in calls}})
    generator = torch.Generator().manual_seed(size)
    x, y = torch.randn(2, size, 3, generator=generator)
    total, values, recorder = record(model, x, y)
    alone = torch.stack([compute(model, x[i : i + 1], y[i : i + 1]) for i in range(size)])
    torch.testing.assert_close(values, alone)
    with pytest.raises(AusamError, match="is missing"):
        recorder.check(total + 1 + 2 * values.sum().abs())
