"""The loss of each sample is what the loss module would return for that sample alone."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ausam_core import AusamError, PerSampleLossRecorder
from ausam_core.per_sample_loss import find_handler
from tests.ausam_core.mmengine.tiny import HALF, Net, hook_of, train

pytestmark = pytest.mark.usefixtures("pose_scope")
N, K, BINS = 5, 4, 12


@pytest.fixture(scope="module")
def losses():
    importlib.import_module("tasks.pose")  # lets mmpose be imported
    return importlib.import_module("mmpose.models.losses")


def recorded(module: nn.Module, *args, **kwargs):
    """(what the module returned, the loss of each sample) of one call."""
    model = nn.ModuleDict(dict(loss_module=module))
    recorder = PerSampleLossRecorder(model)
    assert recorder.watched == ["loss_module"]
    with recorder.recording():
        total = module(*args, **kwargs)
    losses = recorder.losses()
    assert recorder.check(total)
    return total, losses


def alone(module: nn.Module, i: int, *args, **kwargs):
    """What the module returns for sample i by itself."""

    def part(value):
        if isinstance(value, torch.Tensor):
            return value[i : i + 1].clone()
        return tuple(part(v) for v in value) if isinstance(value, (list, tuple)) else value

    return module(*map(part, args), **{k: part(v) for k, v in kwargs.items()})


def compare(module, *args, total_is, **kwargs):
    assert find_handler(module) is not None
    total, per_sample = recorded(module, *args, **kwargs)
    assert per_sample.shape == (N,) and not per_sample.requires_grad
    assert per_sample.std() > 0
    expected = torch.stack([alone(module, i, *args, **kwargs).mean() for i in range(N)])
    torch.testing.assert_close(per_sample, expected.detach())
    torch.testing.assert_close(getattr(per_sample, total_is)(), total.detach().mean())


def compare_over_batch(module, *args, **kwargs):
    """For a mean over something of the whole batch: it holds where the batch is one sample, and
    the scale of all values is one."""
    total, per_sample = recorded(module, *args, **kwargs)
    torch.testing.assert_close(per_sample.mean(), total.detach())
    single = torch.stack(
        [recorded(module, *(v[i : i + 1] for v in args), **kwargs)[1][0] for i in range(N)]
    )
    expected = torch.stack([alone(module, i, *args, **kwargs) for i in range(N)])
    torch.testing.assert_close(single, expected.detach())


def simcc_batch(weights=(N, K)):
    g = torch.Generator().manual_seed(0)
    pred = tuple(torch.randn(N, K, b, generator=g, requires_grad=True) for b in (BINS, BINS + 3))
    label = tuple(torch.randn(N, K, b, generator=g).softmax(-1) for b in (BINS, BINS + 3))
    return pred, label, torch.randint(0, 2, (N, K), generator=g).float().view(weights)


@pytest.mark.parametrize("use_target_weight", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        dict(),
        dict(beta=10.0),
        dict(beta=10.0, label_softmax=True, label_beta=5.0),
        dict(mask=[0, 2], mask_weight=0.25),
        dict(mask=[1], mask_weight=0.0, label_softmax=True),
    ],
)
def test_simcc(settings, use_target_weight, losses):
    module = losses.KLDiscretLoss(use_target_weight=use_target_weight, **settings)
    compare(module, *simcc_batch(), total_is="sum")


def test_simcc_by_name_and_with_flat_weights(losses):
    pred, label, weight = simcc_batch()
    module = losses.KLDiscretLoss()
    names = dict(pred_simcc=pred, gt_simcc=label, target_weight=weight)
    by_name, by_place = recorded(module, **names)[1], recorded(module, pred, label, weight)[1]
    flat = recorded(module, pred, label, weight.reshape(-1))[1]
    assert torch.equal(by_name, by_place) and torch.equal(by_place, flat)


def test_recording_does_not_change_the_gradient(losses):
    pred, label, weight = simcc_batch()
    for settings in (dict(), dict(mask=[0], mask_weight=0.5)):
        module = losses.KLDiscretLoss(**settings)
        plain = torch.autograd.grad(module(pred, label, weight), pred)
        watched = torch.autograd.grad(recorded(module, pred, label, weight)[0], pred)
        assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


@pytest.mark.parametrize("weights", [None, (N, K), (N, K, 6, 6)], ids=["none", "joint", "pixel"])
@pytest.mark.parametrize("mask", [None, (N, 1, 6, 6)], ids=["no mask", "mask"])
@pytest.mark.parametrize("settings", [dict(), dict(loss_weight=3.0), dict(skip_empty_channel=True)])
def test_heatmaps(settings, mask, weights, losses):
    g = torch.Generator().manual_seed(1)
    output = torch.randn(N, K, 6, 6, generator=g, requires_grad=True)
    target = torch.rand(N, K, 6, 6, generator=g)
    target[:, 1] = 0
    extra = {}
    if weights is not None:
        extra["target_weights"] = torch.rand(weights, generator=g)
    if mask is not None:
        extra["mask"] = torch.randint(0, 2, mask, generator=g).float()
    compare(losses.KeypointMSELoss(**settings), output, target, total_is="mean", **extra)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


POINTS = (random(N, K, 2), random(N, K, 2, seed=1), (random(N, K, 2, seed=2) > 0.3).float())
JOINTS = (random(N, K), random(N, K, seed=1), random(N, K, seed=2))
MAPS = (random(N, K, 6, 6), random(N, K, 6, 6, seed=1), random(N, K, seed=2))
VIDEO = (random(N, 3, K, 3), random(N, 3, K, 3, seed=1))
BINS_XY = tuple((random(N, K, BINS, seed=s), random(N, K, BINS + 2, seed=s + 1)) for s in (0, 2))
MMPOSE = {
    "SmoothL1Loss": (POINTS, "mean", dict(loss_weight=2.0)),
    "SoftWeightSmoothL1Loss": (POINTS, "mean", dict(beta=0.1)),
    "WingLoss": (POINTS, "mean", dict(omega=0.3)),
    "SoftWingLoss": (POINTS, "mean", dict(omega1=0.3)),
    "MPJPELoss": (POINTS, "mean", {}),
    "MPJPEVelocityJointLoss": ((*VIDEO, None), "mean", {}),
    "L1Loss": (POINTS, "mean", {}),
    "MSELoss": (POINTS, "mean", {}),
    "BCELoss": (JOINTS, "mean", dict(loss_weight=3.0)),
    "VariFocalLoss": (JOINTS, "mean", {}),
    "OKSLoss": ((*POINTS[:2], JOINTS[2]), "mean", dict(mode="log")),
    "MLECCLoss": ((*BINS_XY, JOINTS[2]), "mean", {}),
    "JSDiscretLoss": (MAPS, "mean", {}),
    "AdaptiveWingLoss": (MAPS, "mean", {}),
    "KeypointOHKMMSELoss": (MAPS, "mean", dict(topk=2)),
    "RLELoss": ((POINTS[0], POINTS[1] + 0.2, *POINTS[1:]), "mean", {}),
}


@pytest.mark.parametrize("use_target_weight", [False, True])
@pytest.mark.parametrize("name", MMPOSE)
def test_mmpose(name, use_target_weight, losses):
    args, total_is, settings = MMPOSE[name]
    if name not in ("OKSLoss", "MPJPEVelocityJointLoss"):
        settings = dict(settings, use_target_weight=use_target_weight)
    torch.manual_seed(0)
    module = getattr(losses, name)(**settings)
    compare(module, *(tuple(args) if use_target_weight else args), total_is=total_is)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("name", ["L1Loss", "BCELoss", "VariFocalLoss", "OKSLoss", "MLECCLoss"])
def test_mmpose_with_another_reduction(name, reduction, losses):
    args, _, settings = MMPOSE[name]
    module = getattr(losses, name)(reduction=reduction, **settings)
    total, per_sample = recorded(module, *args)
    expected = torch.stack([alone(module, i, *args).mean() for i in range(N)])
    torch.testing.assert_close(per_sample, expected)
    whole = "sum" if reduction == "sum" and name != "MLECCLoss" else "mean"
    torch.testing.assert_close(getattr(per_sample, whole)(), total.mean())


@pytest.mark.parametrize(
    "settings",
    [
        dict(residual=False),
        dict(q_distribution="gaussian"),
        dict(size_average=False, use_target_weight=True),
    ],
)
def test_residual_log_likelihood(settings, losses):
    torch.manual_seed(0)
    args, _, _ = MMPOSE["RLELoss"]
    summed = settings.get("size_average") is False
    compare(losses.RLELoss(**settings), *args, total_is="sum" if summed else "mean")


@pytest.mark.parametrize("weights", [POINTS[2], POINTS[2][..., 0]], ids=["axis", "joint"])
def test_a_mean_over_the_weights_of_the_batch(weights, losses):
    module = losses.SoftWeightSmoothL1Loss(use_target_weight=True, supervise_empty=False)
    compare_over_batch(module, *POINTS[:2], weights)


@pytest.mark.parametrize("peaks", [True, False])
def test_focal_heatmaps(peaks, losses):
    module = importlib.import_module("mmpose.models.losses.heatmap_loss").FocalHeatmapLoss()
    target = MAPS[1].clone()
    if peaks:
        target[:, :, 2, 3] = 1
        target[0, 0, 0, 0] = 1
    compare_over_batch(module, MAPS[0].clamp(0.01, 0.99), target, MAPS[2])


def test_heatmaps_with_offsets(losses):
    module = importlib.import_module("mmpose.models.losses.heatmap_loss").CombinedTargetMSELoss
    maps = (random(N, 3 * K, 6, 6), random(N, 3 * K, 6, 6, seed=1), JOINTS[2])
    for use_target_weight in (False, True):
        compare(module(use_target_weight=use_target_weight), *maps, total_is="mean")


def test_distillation(losses):
    module = losses.KDLoss("loss_logit", True, weight=0.1)
    preds, teacher = BINS_XY
    compare(module, preds, teacher, 10.0, JOINTS[2], total_is="mean")
    torch.manual_seed(0)
    module = losses.FeaLoss("loss_fea", True, student_channels=K, teacher_channels=7)
    compare(module, MAPS[0], random(N, 7, 6, 6), total_is="mean")


def test_several_losses_in_one_module(losses):
    """DSNT: coordinates and heatmaps; the head adds what the wrapper lists."""
    parts = [
        dict(type="SmoothL1Loss", use_target_weight=True),
        dict(type="JSDiscretLoss", use_target_weight=True),
    ]
    module = losses.MultipleLossWrapper(parts)
    model = nn.ModuleDict(dict(loss_module=module))
    recorder = PerSampleLossRecorder(model)
    for n in (1, 2, N):
        inputs, targets = [POINTS[0][:n], MAPS[0][:n]], [POINTS[1][:n], MAPS[1][:n]]
        with recorder.recording():
            total = sum(module(inputs, targets, JOINTS[2][:n]))
        per_sample = recorder.losses()
        assert recorder.check(total)
        for i in range(n):
            one = [[v[i : i + 1] for v in values] for values in (inputs, targets)]
            torch.testing.assert_close(per_sample[i], sum(module(*one, JOINTS[2][i : i + 1])))


@pytest.mark.filterwarnings("ignore:no handler")
def test_losses_between_samples_are_refused_by_name(losses):
    contrastive = importlib.import_module("mmpose.models.losses.classification_loss").InfoNCELoss
    for module, args in (
        (losses.BoneLoss([0, 0, 1, 2]), POINTS),
        (contrastive(), (random(N, 7),)),
    ):
        with pytest.raises(
            AusamError, match=rf"does not fit loss_module \({type(module).__name__}"
        ):
            recorded(module, *args)


@pytest.mark.parametrize("name", ["KLDiscretLoss", *MMPOSE])
def test_mmpose_under_autocast_and_in_double(name, losses):
    args = (BINS_XY[0], BINS_XY[1], JOINTS[2]) if name == "KLDiscretLoss" else MMPOSE[name][0]
    settings = {} if name == "KLDiscretLoss" else MMPOSE[name][2]
    torch.manual_seed(0)
    module = getattr(losses, name)(**settings)
    with torch.autocast("cpu", torch.bfloat16):
        recorded(module, *args)

    def double(value):
        return (
            tuple(map(double, value))
            if isinstance(value, tuple)
            else (value.double() if isinstance(value, torch.Tensor) else value)
        )

    total, per_sample = recorded(module.double(), *map(double, args))
    assert total.dtype == per_sample.dtype == torch.float64


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    "cls", [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss]
)
def test_torch_regression(cls, reduction):
    g = torch.Generator().manual_seed(2)
    x, y = torch.randn(N, 7, generator=g), torch.rand(N, 7, generator=g)
    compare(cls(reduction=reduction), x, y, total_is=reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_torch_cross_entropy(smoothing, reduction):
    g = torch.Generator().manual_seed(3)
    x, y = torch.randn(N, 3, generator=g), torch.randint(0, 3, (N,), generator=g)
    module = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=smoothing)
    compare(module, x, y, total_is=reduction)


def look_alike(name: str, **attributes):
    """A class under the full name of one that is not installed."""
    module, _, cls = name.rpartition(".")
    return type(cls, (nn.Module,), {"__module__": module, **attributes})


def classification_forward(
    self, cls_score, label, weight=None, avg_factor=None, reduction_override=None, **kwargs
):
    """As MMPretrain's losses: reduced by ``avg_factor``, unless overridden."""
    reduction = reduction_override or self.reduction
    losses = self.loss_weight * F.cross_entropy(cls_score, label, reduction="none")
    if weight is not None:
        losses = losses * weight
    if reduction == "none":
        return losses
    return losses.sum() / avg_factor if avg_factor else getattr(losses, reduction)()


MMPRETRAIN = [
    "mmpretrain.models.losses.cross_entropy_loss.CrossEntropyLoss",
    "mmpretrain.models.losses.label_smooth_loss.LabelSmoothLoss",
    "mmpretrain.models.losses.focal_loss.FocalLoss",
]


@pytest.mark.parametrize("name", MMPRETRAIN)
@pytest.mark.parametrize("by_head", [False, True])
def test_mmpretrain(name, by_head):
    module = look_alike(name, forward=classification_forward)()
    module.reduction, module.loss_weight = "mean", 2.0
    g = torch.Generator().manual_seed(4)
    x, y = torch.randn(N, 3, generator=g), torch.randint(0, 3, (N,), generator=g)
    settings = dict(avg_factor=N) if by_head else {}
    total, per_sample = recorded(module, x, y, **settings)
    torch.testing.assert_close(per_sample, 2.0 * F.cross_entropy(x, y, reduction="none"))
    torch.testing.assert_close(per_sample.mean(), total)


def test_a_handler_is_found_by_full_name_and_for_subclasses():
    cls = look_alike(MMPRETRAIN[0], forward=classification_forward)
    assert find_handler(type("Mine", (cls,), {})()) is find_handler(cls())
    stranger = look_alike("elsewhere.CrossEntropyLoss", forward=classification_forward)
    assert find_handler(stranger()) is None
    assert "mmpretrain" not in sys.modules
    assert isinstance(sys.modules["ausam_core.mmengine.loss_handlers"], types.ModuleType)


class Unknown(nn.Module):
    """A loss that nobody registered: separable by samples."""

    def forward(self, logits, labels):
        return (F.cross_entropy(logits, labels, reduction="none") * 2).mean()


class Coupled(nn.Module):
    """A loss that is no sum over samples."""

    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels) + logits.sum().square()


def test_an_unknown_loss_is_called_for_each_sample_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="no handler.*Unknown.*register_per_sample_loss"):
        runner = train(
            tmp_path, model=Net(loss=Unknown()), selection=HALF, hooks=[dict(type="AUSAMHook")]
        )
    assert hook_of(runner).choice.selection.scores.of(torch.arange(24)).isfinite().all()


@pytest.mark.filterwarnings("ignore:no handler")
def test_a_loss_that_cannot_be_split_stops_the_run_by_name(tmp_path):
    with pytest.raises(AusamError, match=r"does not fit loss_module \(Coupled\)"):
        train(tmp_path, model=Net(loss=Coupled()), selection=HALF, hooks=[dict(type="AUSAMHook")])


def test_loss_modules_can_be_named(tmp_path):
    wrapper = dict(
        type="SAMOptimWrapper",
        optimizer=dict(type="SGD", lr=0.1),
        loss_modules=["loss_modul"],
    )
    with pytest.raises(AusamError, match="names 'loss_modul'.*with a loss.*loss_module"):
        train(tmp_path, wrapper=wrapper, selection=HALF, hooks=[dict(type="AUSAMHook")])
    wrapper["loss_modules"] = ["loss_module"]
    train(tmp_path, wrapper=wrapper, selection=HALF, hooks=[dict(type="AUSAMHook")])
