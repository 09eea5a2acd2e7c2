"""MMSegmentation's own models with README's lines added: what AUSAM sees, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

pytest.importorskip("mmseg", reason="needs mmsegmentation, see docs/mmengine_projects.md")

from tests.reuse.operators import stand_in  # noqa: E402

stand_in()

from tests.reuse.cases import check_scores  # noqa: E402
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
def scene(index: int) -> dict[str, Any]:
    """A picture of 64 x 64 pixels with a class for each."""
    random = np.random.default_rng(index)
    return dict(
        img=random.integers(0, 256, (64, 64, 3)).astype(np.uint8),
        img_shape=(64, 64),
        ori_shape=(64, 64),
        gt_seg_map=random.integers(0, 19, (64, 64)).astype(np.int64),
        seg_fields=["gt_seg_map"],
    )


def plain(part: Any) -> None:
    """BatchNorm of one process, no dropout."""
    if isinstance(part, dict):
        if part.get("type") == "SyncBN":
            part["type"] = "BN"
        for key in part:
            if key in ("dropout_ratio", "drop_path_rate", "drop_rate"):
                part[key] = 0.0
            plain(part[key])
    elif isinstance(part, list):
        for item in part:
            plain(item)


def project(path: str) -> Config:
    """A config of MMSegmentation on random scenes, in epochs."""
    cfg = config_of("mmseg", path)
    cfg.model.pretrained = None
    cfg.model.data_preprocessor.size = (64, 64)
    plain(cfg.model)
    cfg.train_dataloader.sampler = dict(type="DefaultSampler", shuffle=True)
    pack = dict(type="PackSegInputs", meta_keys=())
    cfg.train_dataloader.dataset = dict(type="FewSamples", make="scene", pipeline=[pack])
    return cfg


PROJECTS = {
    "FCN": "fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "PSPNet": "pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py",
    "DeepLabV3+": "deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py",
    "SegFormer": "segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py",
    "UPerNet": "upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py",
}


def test_their_own_loop_counts_iterations(tmp_path):
    """As all of MMSegmentation's configs are written; here an iteration is a pass."""
    cfg = project(PROJECTS["PSPNet"])
    cfg.train_dataloader.sampler = dict(type="InfiniteSampler", shuffle=True)
    loop = dict(cfg.train_cfg, max_iters=2)
    assert loop["type"] == "IterBasedTrainLoop"

    def in_their_loop(cfg: Config) -> None:
        one_line(cfg)
        cfg.train_cfg = loop

    runner = runner_of(cfg, tmp_path, in_their_loop)
    runner.train()
    scores = choice_of(runner).selection.scores
    assert runner.iter == 2 and scores.of(torch.arange(N)).isfinite().all()
    assert int(scores._count.sum()) == N + N // 2, "the second pass trains half"


@pytest.mark.slow
@pytest.mark.parametrize("lines", [one_line, three_lines])
@pytest.mark.parametrize("name", PROJECTS)
def test_scores_are_those_by_hand(name, lines, tmp_path):
    check_scores(project(PROJECTS[name]), tmp_path, lines)
