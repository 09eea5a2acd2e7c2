"""MMPretrain's own configs with README's lines added: what AUSAM sees, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope, init_default_scope

pytest.importorskip("mmpretrain", reason="needs the extra: pip install ausam[reuse]")

from ausam_core import AusamError  # noqa: E402
from tests.reuse.cases import check_scores  # noqa: E402
from tests.reuse.projects import (  # noqa: E402
    N,
    RHO,
    FirstBatch,
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
PROJECTS = {
    "ResNet-18": ("resnet/resnet18_8xb16_cifar10.py", {}),
    "ResNet-50, label smoothing": ("resnet/resnet50_8xb32-lbs_in1k.py", {}),
    "MobileNetV2": ("mobilenet_v2/mobilenet-v2_8xb32_in1k.py", {}),
    "DeiT": ("deit/deit-tiny_4xb256_in1k.py", DEIT),
    "ArcFace": ("arcface/resnet50-arcface_8xb32_inshop.py", {}),
}


@pytest.mark.parametrize("lines", [one_line, three_lines])
@pytest.mark.parametrize("name", PROJECTS)
def test_scores_are_those_by_hand(name, lines, tmp_path):
    path, settings = PROJECTS[name]
    check_scores(project(path, **settings), tmp_path, lines)
