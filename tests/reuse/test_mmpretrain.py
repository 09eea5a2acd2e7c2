"""MMPretrain's own configs with README's lines added: what AUSAM sees, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("mmpretrain", reason="needs the extra: pip install ausam[reuse]")

from ausam_core import AusamError  # noqa: E402
from tests.reuse.cases import check_resume, check_scores  # noqa: E402
from tests.reuse.projects import (  # noqa: E402
    N,
    choice_of,
    config_of,
    maker,
    one_line,
    runner_of,
    three_lines,
)


@maker
def image(index):
    """A picture of 32 x 32 pixels, and a class."""
    random = np.random.default_rng(index)
    pixels = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    return dict(img=pixels, img_shape=(32, 32), ori_shape=(32, 32), gt_label=index % 10)


@maker
def image_with_labels(index):
    """The same with two classes."""
    return {**image(index), "gt_label": [index % 10, (index + 3) % 10]}


@maker
def picture(index):
    """A picture without a class."""
    return {k: v for k, v in image(index).items() if k != "gt_label"}


def project(path, make="image", **model):
    """A config of MMPretrain on random pictures."""
    cfg = config_of("mmpretrain", path)
    cfg.train_dataloader.dataset = dict(
        type="FewSamples", make=make, pipeline=[dict(type="PackInputs")]
    )
    cfg.merge_from_dict(dict(model=model))
    return cfg


# The head of a vision transformer begins with zeros, from which all samples look alike.
DEIT = dict(
    backbone=dict(img_size=32),
    head=dict(init_cfg=dict(type="TruncNormal", layer="Linear", std=0.5)),
    train_cfg=None,
)
MAE = dict(
    backbone=dict(arch="deit-t", img_size=32, patch_size=8),
    neck=dict(num_patches=16, patch_size=8, embed_dim=192, decoder_depth=2),
    head=dict(patch_size=8),
)
PROJECTS = {
    "ResNet-18": ("resnet/resnet18_8xb16_cifar10.py", {}),
    "ResNet-50, label smoothing": ("resnet/resnet50_8xb32-lbs_in1k.py", {}),
    "MobileNetV2": ("mobilenet_v2/mobilenet-v2_8xb32_in1k.py", {}),
    "DeiT": ("deit/deit-tiny_4xb256_in1k.py", DEIT),
    "ArcFace": ("arcface/resnet50-arcface_8xb32_inshop.py", {}),
}


def slow_unless(*quick):
    """The names of the projects; all but a few are left out of the quick tests."""
    slow = pytest.mark.slow
    return [pytest.param(n, marks=() if n in quick else slow) for n in PROJECTS]


@pytest.mark.parametrize("lines", [one_line, three_lines])
@pytest.mark.parametrize("name", slow_unless("MobileNetV2"))
def test_scores_are_those_by_hand(name, lines, tmp_path):
    path, settings = PROJECTS[name]
    check_scores(project(path, **settings), tmp_path, lines)


def test_several_labels_a_picture(tmp_path):
    """Their multi-label head on their ResNet-18; the one config they have is a VGG of 0.5 GB."""
    cfg = project("resnet/resnet18_8xb16_cifar10.py", make="image_with_labels")
    cfg.model.head = dict(
        type="MultiLabelLinearClsHead",
        num_classes=10,
        in_channels=512,
        loss=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )
    cfg.model.data_preprocessor.to_onehot = True
    check_scores(cfg, tmp_path, one_line)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [one_line, three_lines])
def test_a_resumed_run_is_the_run_that_never_stopped(lines, tmp_path):
    cfg = project("resnet/resnet18_8xb16_cifar10.py")
    check_resume(cfg, tmp_path, lines)


def test_mixed_pictures_are_refused_by_name(tmp_path):
    """DeiT's own config trains on Mixup and CutMix: such a loss belongs to no sample."""
    cfg = project("deit/deit-tiny_4xb256_in1k.py", backbone=dict(img_size=32))
    with pytest.raises(AusamError, match="Mixup mixes samples.*alpha=1"):
        runner_of(cfg, tmp_path, one_line).train()


def test_masked_pictures_are_seen(tmp_path):
    """MAE draws its masks anew in every call, so there is nothing to compare by hand; both passes
    of a step see the same masks, and each picture gets a score."""
    cfg = project("mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py", make="picture", **MAE)
    cfg.optim_wrapper.type = "OptimWrapper"  # theirs is for GPUs
    cfg.optim_wrapper.pop("loss_scale")
    runner = runner_of(cfg, tmp_path, one_line)
    runner.train()
    scores = choice_of(runner).selection.scores.of(torch.arange(N))
    assert scores.isfinite().all() and scores.std() > 0
