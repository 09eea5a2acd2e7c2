"""MMPretrain's losses, by full name: the package itself need not be there."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ausam_core.mmengine  # noqa: F401  registers
from ausam_core import PerSampleLossRecorder
from ausam_core.per_sample_loss import find_handler

N, CLASSES = 5, 3
LOSSES = "mmpretrain.models.losses."
SCORES = torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0])
SEVERAL = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0], [1, 0, 0]])


def look_alike(name: str, **attributes):
    """A class under the full name of one that is not installed."""
    module, _, cls = (LOSSES + name).rpartition(".")
    return type(cls, (nn.Module,), {"__module__": module, **attributes})


def recorded(module: nn.Module, *args, **kwargs):
    recorder = PerSampleLossRecorder(nn.ModuleDict(dict(loss_module=module)))
    with recorder.recording():
        total = module(*args, **kwargs)
    losses = recorder.losses()
    assert recorder.check(total)
    return total, losses


def several_labels_forward(
    self, pred, target, weight=None, avg_factor=None, reduction_override=None
):
    """As MMPretrain reduces: by ``avg_factor`` if given, unless asked not to."""
    losses = F.binary_cross_entropy_with_logits(pred, target, reduction="none")
    if weight is not None:
        losses = losses * weight[:, None]
    reduction = reduction_override or self.reduction
    if reduction == "none":
        return losses
    return losses.sum() / avg_factor if avg_factor else getattr(losses, reduction)()


@pytest.mark.parametrize(
    "name",
    [
        "cross_entropy_loss.CrossEntropyLoss",
        "label_smooth_loss.LabelSmoothLoss",
        "focal_loss.FocalLoss",
        "asymmetric_loss.AsymmetricLoss",
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("avg_factor", [None, N, 3, torch.tensor(7.0)])
def test_several_labels(name, reduction, weighted, avg_factor):
    if avg_factor is not None and reduction != "mean":
        avg_factor = None  # MMPretrain refuses it
    module = look_alike(name, forward=several_labels_forward, reduction=reduction)()
    weight = torch.rand(N) + 0.5 if weighted else None
    total, losses = recorded(module, SCORES, SEVERAL, weight, avg_factor)
    whole = losses.sum() if reduction == "sum" else losses.mean()
    torch.testing.assert_close(whole, total.mean())
    raw = F.binary_cross_entropy_with_logits(SCORES, SEVERAL, reduction="none").sum(1)
    shape = losses / (raw * weight if weighted else raw)
    torch.testing.assert_close(shape, shape[:1].expand(N))  # each its own, up to one scale
    by_name = dict(pred=SCORES, target=SEVERAL, weight=weight, avg_factor=avg_factor)
    assert torch.equal(recorded(module, **by_name)[1], losses)


def seesaw_criterion(score, labels, weight, counts, classes, p, q, eps, reduction, avg_factor):
    bias = (counts + eps).log() * p
    losses = F.cross_entropy(score + bias, labels, reduction="none")
    losses = losses if weight is None else losses * weight
    return losses if reduction == "none" else losses.sum() / (avg_factor or len(losses))


class Seesaw(nn.Module):
    """Counts the samples of each class that its forward sees."""

    num_classes, p, q, eps, reduction, loss_weight = CLASSES, 0.8, 2.0, 1e-2, "mean", 2.0

    def __init__(self):
        super().__init__()
        self.register_buffer("cum_samples", torch.zeros(CLASSES))
        self.cls_criterion = seesaw_criterion

    def forward(self, cls_score, labels, weight=None, avg_factor=None, reduction_override=None):
        self.cum_samples += torch.bincount(labels, minlength=CLASSES)
        settings = (self.num_classes, self.p, self.q, self.eps, "mean", avg_factor)
        losses = seesaw_criterion(cls_score, labels, weight, self.cum_samples, *settings)
        return self.loss_weight * losses


def test_a_loss_that_counts_its_samples_counts_them_once():
    Seesaw.__module__, Seesaw.__qualname__ = LOSSES + "seesaw_loss", "SeesawLoss"
    module = Seesaw()
    total, losses = recorded(module, SCORES, LABELS, avg_factor=N)
    torch.testing.assert_close(losses.mean(), total)
    assert torch.equal(module.cum_samples, torch.bincount(LABELS, minlength=CLASSES).float())


class Reconstruction(nn.Module):
    """As MAE and SimMIM are trained: over what is masked."""

    def __init__(self, channel):
        super().__init__()
        self.penalty, self.channel = nn.L1Loss(reduction="none"), channel

    def forward(self, pred, target, mask=None):
        loss = self.penalty(pred, target)
        if loss.dim() == 3:
            loss = loss.mean(-1)
        return loss.mean() if mask is None else (loss * mask).sum() / mask.sum() / self.channel


Reconstruction.__module__ = LOSSES + "reconstruction_loss"
Reconstruction.__qualname__ = "PixelReconstructionLoss"


class Cosine(nn.Module):
    shift_factor, scale_factor = 2.0, 0.5

    def forward(self, pred, target, mask=None):
        cosines = (F.normalize(pred, dim=-1) * F.normalize(target, dim=-1)).sum(-1)
        loss = self.shift_factor - self.scale_factor * cosines
        return loss.mean() if mask is None else (loss * mask).sum() / mask.sum()


Cosine.__module__, Cosine.__qualname__ = LOSSES + "cosine_similarity_loss", "CosineSimilarityLoss"
PATCHES, IMAGES = (N, 4, 6), (N, 3, 4, 4)
EVEN = torch.tensor([1.0, 0, 1, 0]).expand(N, 4)


@pytest.mark.parametrize("module", [Reconstruction(1), Cosine()], ids=["pixels", "cosine"])
@pytest.mark.parametrize("mask", [None, EVEN], ids=["whole", "masked"])
def test_masked_patches_give_each_image_what_it_gives_alone(module, mask):
    pred, target = torch.randn(PATCHES), torch.randn(PATCHES)
    total, losses = recorded(module, pred, target, mask)
    for i in range(N):
        of_one = [None if v is None else v[i : i + 1] for v in (pred, target, mask)]
        torch.testing.assert_close(losses[i], module(*of_one))
    torch.testing.assert_close(losses.mean(), total)


@pytest.mark.parametrize("uneven", [False, True])
def test_masked_pixels_average_to_what_the_module_returns(uneven):
    mask = torch.ones(N, 1, 4, 4)
    mask[:, :, 1:] = 0
    if uneven:
        mask[0] = 1
    total, losses = recorded(Reconstruction(3), torch.randn(IMAGES), torch.randn(IMAGES), mask)
    torch.testing.assert_close(losses.mean(), total)


def test_nothing_is_imported_for_it():
    assert find_handler(Reconstruction(1)) is not None and "mmpretrain" not in sys.modules
