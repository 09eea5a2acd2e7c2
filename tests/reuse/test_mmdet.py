"""MMDetection's own models with README's lines added: what AUSAM sees, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmengine.config import Config

pytest.importorskip("mmdet", reason="needs mmdet, see docs/mmengine_projects.md")

from tests.reuse.operators import stand_in  # noqa: E402

stand_in()

from ausam_core import AusamError  # noqa: E402
from tests.reuse.projects import config_of, maker, one_line, runner_of, three_lines  # noqa: E402

CHANCE = dict(type="UniformSelection", alpha=0.5)


@maker
def boxes(index: int) -> dict[str, Any]:
    """A picture of 128 x 128 pixels with as many boxes as its number says."""
    from mmdet.structures.bbox import HorizontalBoxes

    random = np.random.default_rng(index)
    count = index + 1
    corners = random.uniform(0, 60, (count, 2))
    found = np.concatenate([corners, corners + random.uniform(20, 60, (count, 2))], 1)
    return dict(
        img=random.integers(0, 256, (128, 128, 3)).astype(np.uint8),
        img_shape=(128, 128),
        ori_shape=(128, 128),
        img_id=index,
        gt_bboxes=HorizontalBoxes(found.astype(np.float32)),
        gt_bboxes_labels=random.integers(0, 80, count),
        gt_ignore_flags=np.zeros(count, bool),
    )


def project(path: str) -> Config:
    """A config of MMDetection on random pictures."""
    cfg = config_of("mmdet", path)
    pack = dict(type="PackDetInputs", meta_keys=("img_shape", "ori_shape"))
    cfg.train_dataloader.dataset = dict(type="FewSamples", make="boxes", pipeline=[pack])
    cfg.train_dataloader.pop("batch_sampler", None)
    return cfg


def by_chance(lines):
    """README's lines with a selection that needs no loss of each sample."""

    def add(cfg: Config) -> None:
        lines(cfg)
        if lines is one_line:
            cfg.custom_hooks[-1] = dict(type="AUSAMHook", rho=0.01, selection=CHANCE)
        else:
            cfg.train_dataloader.batch_sampler.selection = CHANCE

    return add


PROJECTS = {
    "RetinaNet": "retinanet/retinanet_r18_fpn_1x_coco.py",
    "FCOS": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
}


@pytest.mark.slow
@pytest.mark.parametrize("lines", [one_line, three_lines])
@pytest.mark.parametrize("name", PROJECTS)
def test_a_loss_that_is_averaged_over_boxes_has_no_scores(name, lines, tmp_path):
    """A picture's part of it depends on how many boxes the others have."""
    with pytest.raises(AusamError, match="cannot be added sample by sample.*choose by chance"):
        runner_of(project(PROJECTS[name]), tmp_path, lines).train()


@pytest.mark.slow
@pytest.mark.parametrize("lines", [one_line, three_lines])
@pytest.mark.parametrize("name", PROJECTS)
def test_half_by_chance_needs_no_scores(name, lines, tmp_path):
    runner = runner_of(project(PROJECTS[name]), tmp_path, by_chance(lines), epochs=2)
    runner.train()
    assert runner.optim_wrapper.method.cost.passes == 2 * 4  # an epoch of SAM on half is one of SGD
