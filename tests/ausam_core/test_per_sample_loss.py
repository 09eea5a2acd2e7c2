"""The loss of each sample out of modules that return a scalar."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ausam_core import AusamError, PerSampleLossRecorder, register_per_sample_loss
from ausam_core.loss_slices import one_by_one
from ausam_core.per_sample_loss import find_handler

N = 6
_generator = torch.Generator().manual_seed(0)
LOGITS, LABELS = torch.randn(N, 4, generator=_generator), torch.tensor([0, 1, 2, 3, 0, 1])
MAPS = torch.randn(N, 2, 5, generator=_generator)
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 3.0])

MODULES = {
    "cross_entropy": (nn.CrossEntropyLoss(), LOGITS, LABELS),
    "cross_entropy_smooth": (nn.CrossEntropyLoss(label_smoothing=0.1), LOGITS, LABELS),
    "cross_entropy_sum": (nn.CrossEntropyLoss(reduction="sum"), LOGITS, LABELS),
    "cross_entropy_weighted": (nn.CrossEntropyLoss(weight=WEIGHTS), LOGITS, LABELS),
    "cross_entropy_ignore": (nn.CrossEntropyLoss(ignore_index=1), LOGITS, LABELS),
    "cross_entropy_soft": (nn.CrossEntropyLoss(), LOGITS, LOGITS.softmax(1)),
    "nll": (nn.NLLLoss(), LOGITS.log_softmax(1), LABELS),
    "mse": (nn.MSELoss(), MAPS, MAPS + 1),
    "mse_sum": (nn.MSELoss(reduction="sum"), MAPS, MAPS * 2),
    "l1": (nn.L1Loss(), MAPS, MAPS * 3),
    "smooth_l1": (nn.SmoothL1Loss(), MAPS, MAPS * 3),
    "bce": (nn.BCEWithLogitsLoss(), MAPS, MAPS.sigmoid()),
    "kl_batchmean": (nn.KLDivLoss(reduction="batchmean"), LOGITS.log_softmax(1), LOGITS.softmax(1)),
    "mse_none": (nn.MSELoss(reduction="none"), MAPS, MAPS + LOGITS[:, :1, None]),
    "cross_entropy_none": (nn.CrossEntropyLoss(reduction="none"), LOGITS, LABELS),
    "huber": (nn.HuberLoss(delta=0.3), MAPS, MAPS * 2),
    "poisson": (nn.PoissonNLLLoss(), MAPS, MAPS.exp()),
    "gaussian": (nn.GaussianNLLLoss(), MAPS, MAPS * 2, MAPS.exp()),
    "soft_margin": (nn.SoftMarginLoss(), MAPS, MAPS.sign()),
    "hinge": (nn.HingeEmbeddingLoss(), MAPS, MAPS.sign()),
    "cosine": (nn.CosineEmbeddingLoss(), LOGITS, LOGITS.flip(1), LOGITS[:, 0].sign()),
    "ranking": (nn.MarginRankingLoss(0.1), LOGITS[:, 0], LOGITS[:, 1], LOGITS[:, 2].sign()),
    "multi_margin": (nn.MultiMarginLoss(), LOGITS, LABELS),
    "labels_soft_margin": (nn.MultiLabelSoftMarginLoss(), LOGITS, (LOGITS > 0).float()),
    "triplet": (nn.TripletMarginLoss(), LOGITS, LOGITS.flip(1), LOGITS.roll(1, 1)),
}


class Model(nn.Module):
    def __init__(self, *losses):
        super().__init__()
        self.loss_modules = nn.ModuleList(losses)

    def forward(self, *args):
        return sum(loss(*args) for loss in self.loss_modules)


def record(model, *args, **settings):
    recorder = PerSampleLossRecorder(model, **settings)
    with recorder.recording():
        total = model(*args)
    losses = recorder.losses()
    assert recorder.check(total)
    return total, losses


@pytest.mark.parametrize("name", MODULES)
def test_the_handlers_of_torchs_losses_add_up_to_what_the_module_returns(name):
    module, *args = MODULES[name]
    total, values = record(Model(module), *args)
    assert values.shape == (N,) and not values.requires_grad
    reduced = values.sum() if module.reduction == "sum" else values.mean()
    torch.testing.assert_close(reduced, total.mean())


@pytest.mark.parametrize(
    "name", [n for n in MODULES if n.split("_")[-1] not in ("ignore", "weighted")]
)
def test_the_handlers_agree_with_the_module_called_sample_by_sample(name):
    module, *args = MODULES[name]
    torch.testing.assert_close(
        find_handler(module)(module, tuple(args), {}), one_by_one(module, tuple(args), {})
    )


@pytest.mark.parametrize("name", MODULES)
def test_the_scale_of_a_value_does_not_depend_on_the_size_of_the_batch(name):
    if name.endswith(("ignore", "weighted")):
        pytest.skip("its mean is over the weights of the batch")
    module, *args = MODULES[name]
    whole = record(Model(module), *args)[1]
    half = record(Model(module), *(a[:3] for a in args))[1]
    torch.testing.assert_close(whole[:3], half)


def test_recording_leaves_the_loss_and_its_gradient_alone():
    head = nn.Linear(4, 4)
    model = Model(nn.CrossEntropyLoss())
    plain = model(head(LOGITS), LABELS)
    recorded, _ = record(model, head(LOGITS), LABELS)
    assert torch.equal(plain, recorded)
    (a,), (b,) = (torch.autograd.grad(x, [head.weight]) for x in (plain, recorded))
    assert torch.equal(a, b)


def test_nothing_is_recorded_outside():
    model = Model(nn.CrossEntropyLoss())
    recorder = PerSampleLossRecorder(model)
    model(LOGITS, LABELS)
    assert recorder.losses() is None


def test_several_loss_modules_add_up():
    model = Model(nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.5))
    total, values = record(model, LOGITS, LABELS)
    torch.testing.assert_close(values.mean(), total)


class Unknown(nn.Module):
    def forward(self, x, y):
        return (x - y).abs().pow(1.5).mean()


def test_a_module_without_handler_is_called_sample_by_sample_and_says_so():
    model = Model(Unknown())
    model.loss = model.loss_modules[0]
    with pytest.warns(UserWarning, match="no handler for the loss of each sample.*Unknown"):
        total, values = record(model, MAPS, MAPS * 2)
    assert values.shape == (N,)
    torch.testing.assert_close(values.mean(), total)


def test_a_handler_serves_subclasses_and_can_be_registered_by_name():
    class Own(nn.Module):
        def forward(self, x, y):
            return (x - y).square().sum()

    class Derived(Own):
        pass

    @register_per_sample_loss(f"{Own.__module__}.{Own.__qualname__}")
    def own(module, args, kwargs):
        return (args[0] - args[1]).square().flatten(1).sum(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total, values = record(Model(Derived()), MAPS, MAPS * 2)
    torch.testing.assert_close(values.sum(), total)


def test_a_handler_that_contradicts_its_module_stops_the_run_by_name():
    class Lying(nn.Module):
        def forward(self, x, y):
            return (x - y).square().mean()

    register_per_sample_loss(Lying)(lambda module, args, kwargs: args[0].flatten(1).sum(1))
    with pytest.raises(AusamError, match=r"does not fit loss_modules.0 \(Lying\)"):
        record(Model(Lying()), MAPS, MAPS * 2)


def test_parts_of_a_loss_module_are_not_counted_twice():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.CrossEntropyLoss()

        def forward(self, x, y):
            return self.inner(x, y) * 3

    register_per_sample_loss(Outer)(
        lambda module, args, kwargs: F.cross_entropy(*args, reduction="none") * 3
    )
    total, values = record(Model(Outer()), LOGITS, LABELS)
    torch.testing.assert_close(values.mean(), total)


def test_losses_that_are_reduced_differently_are_not_added():
    model = Model(nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="sum"))
    with pytest.raises(AusamError, match="cannot be added sample by sample"):
        record(model, LOGITS, LABELS)


def test_modules_can_be_named_and_wrong_names_are_answered():
    model = Model(nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="sum"))
    with pytest.warns(UserWarning, match=r"give a mean of loss_modules.0 .*is missing"):
        _, values = record(model, LOGITS, LABELS, loss_modules=["loss_modules.0"])
    torch.testing.assert_close(values, F.cross_entropy(LOGITS, LABELS, reduction="none"))
    with pytest.raises(AusamError, match="'head.loss', which the model does not have"):
        PerSampleLossRecorder(model, ["head.loss"])


def test_a_model_without_loss_modules_watches_nothing():
    assert PerSampleLossRecorder(nn.Linear(2, 2)).watched == []


@pytest.mark.parametrize("ignored", [-100, 255])
def test_class_weights_and_a_label_that_is_no_class_go_together(ignored):
    labels = LABELS.where(LABELS != 1, ignored)
    module = nn.CrossEntropyLoss(weight=WEIGHTS, ignore_index=ignored)
    total, values = record(Model(module), LOGITS, labels)
    torch.testing.assert_close(values.mean(), total)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ctc_whose_batch_is_the_second_dimension(reduction):
    module = nn.CTCLoss(reduction=reduction)
    scores = torch.randn(9, N, 5).log_softmax(2)
    args = (scores, torch.randint(1, 5, (N, 3)), (9,) * N, tuple(1 + i % 3 for i in range(N)))
    total, values = record(Model(module), *args)
    expected = [module(scores[:, i : i + 1], args[1][i : i + 1], (9,), args[3][i : i + 1])
                for i in range(N)]  # fmt: skip
    torch.testing.assert_close(values, torch.stack(expected))


def test_a_subclass_that_reduces_by_itself_is_called_sample_by_sample():
    class Twice(nn.CrossEntropyLoss):
        def forward(self, x, y):
            return 2 * super().forward(x, y).mean()

    with pytest.warns(UserWarning, match="no handler.*Twice"):
        _, values = record(Model(Twice()), LOGITS, LABELS)
    torch.testing.assert_close(values, 2 * F.cross_entropy(LOGITS, LABELS, reduction="none"))
