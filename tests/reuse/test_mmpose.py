"""MMPose's own configs with README's lines added: what AUSAM sees, and what it refuses."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, Registry

pytest.importorskip("tasks.pose", reason="needs the extra: pip install ausam[pose], and mmpose")

from tests.reuse.cases import check_resume, check_scores  # noqa: E402
from tests.reuse.projects import (  # noqa: E402
    config_of,
    maker,
    one_line,
    runner_of,
    three_lines,
)

JOINTS = 17
# The configs' sizes of images, heatmaps and feature maps, and what stands here for each.
TINY = {
    (192, 256): (64, 64),
    (256, 192): (64, 64),
    (256, 256): (64, 64),
    (48, 64): (16, 16),
    (64, 48): (16, 16),
    (64, 64): (16, 16),
    (6, 8): (2, 2),
    (8, 8): (2, 2),
}


@maker
def whole_person(index: int, edge: int = 64) -> dict[str, Any]:
    """A cropped picture with joints that are all visible, as TopdownAffine leaves it."""
    random = np.random.default_rng(index)
    joints = random.uniform(edge // 8, edge - edge // 8, (1, JOINTS, 2)).astype(np.float32)
    return dict(
        img=random.integers(0, 256, (edge, edge, 3)).astype(np.uint8),
        img_shape=(edge, edge),
        ori_shape=(edge, edge),
        input_size=(edge, edge),
        input_center=np.array([edge / 2, edge / 2]),
        input_scale=np.array([edge, edge], np.float64),
        transformed_keypoints=joints,
        keypoints=joints,
        keypoints_visible=np.ones((1, JOINTS), np.float32),
        dataset_keypoint_weights=np.ones(JOINTS, np.float32),
        flip_indices=list(range(JOINTS)),
    )


@maker
def person(index: int) -> dict[str, Any]:
    """One of the joints is not visible."""
    info = whole_person(index)
    info["keypoints_visible"][0, index] = 0
    return info


@maker
def large_person(index: int) -> dict[str, Any]:
    """128 x 128 pixels: an hourglass halves seven times."""
    return whole_person(index, edge=128)


@maker
def sequence(index: int) -> dict[str, Any]:
    """Joints of one picture, and where they are in space."""
    random = np.random.default_rng(index)
    return dict(
        keypoints=random.uniform(400, 600, (1, JOINTS, 2)).astype(np.float32),
        keypoints_visible=np.ones((1, JOINTS), np.float32),
        lifting_target=random.normal(size=(1, JOINTS, 3)).astype(np.float32),
        lifting_target_visible=np.ones((1, JOINTS), np.float32),
    )


def tiny(value: Any, factor: int = 1) -> Any:
    """A config with every size replaced."""
    if isinstance(value, dict):
        return type(value)({k: tiny(v, factor) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        if all(type(v) is int for v in value) and tuple(value) in TINY:
            return tuple(factor * v for v in TINY[tuple(value)])
        return type(value)(tiny(v, factor) for v in value)
    return value


def project(path: str, make: str = "person", **model: Any) -> Any:
    """A config of MMPose on random pictures: its pipeline from the making of targets on."""
    cfg = config_of("mmpose", path)
    factor = 2 if make == "large_person" else 1
    pipeline = tiny(list(cfg.train_dataloader.dataset.pipeline[-2:]), factor)
    cfg.train_dataloader.dataset = dict(type="FewSamples", make=make, pipeline=pipeline)
    cfg.model = tiny(cfg.model, factor)
    cfg.merge_from_dict(dict(model=model))
    return cfg


HEATMAPS, REGRESSION = (
    "body_2d_keypoint/topdown_heatmap/coco/",
    "body_2d_keypoint/topdown_regression/coco/",
)
INTEGRAL = "body_2d_keypoint/integral_regression/coco/"
LIFTING = "body_3d_keypoint/image_pose_lift/h36m/image-pose-lift_tcn_8xb64-200e_h36m.py"
PROJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "heatmap, ResNet-50": (HEATMAPS + "td-hm_res50_8xb64-210e_coco-256x192.py", {}),
    "heatmap, HRNet": (HEATMAPS + "td-hm_hrnet-w32_8xb64-210e_coco-256x192.py", {}),
    "heatmap, hourglass": (
        HEATMAPS + "td-hm_hourglass52_8xb32-210e_coco-256x256.py",
        dict(make="large_person"),
    ),
    "heatmap, MSPN": (HEATMAPS + "td-hm_2xmspn50_8xb32-210e_coco-256x192.py", {}),
    "heatmap, ViTPose": (
        HEATMAPS + "td-hm_ViTPose-small_8xb64-210e_coco-256x192.py",
        dict(backbone=dict(drop_path_rate=0.0)),
    ),
    "SimCC": ("body_2d_keypoint/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py", {}),
    "regression": (REGRESSION + "td-reg_res50_8xb64-210e_coco-256x192.py", {}),
    "RLE": (REGRESSION + "td-reg_res50_rle-8xb64-210e_coco-256x192.py", {}),
    "IPR": (INTEGRAL + "ipr_res50_8xb64-210e_coco-256x256.py", {}),
    "IPR, debiased": (
        INTEGRAL + "ipr_res50_debias-8xb64-210e_coco-256x256.py",
        dict(make="whole_person"),
    ),
    "DSNT": (INTEGRAL + "ipr_res50_dsnt-8xb64-210e_coco-256x256.py", dict(make="whole_person")),
    "3-D lifter": (LIFTING, dict(make="sequence", backbone=dict(dropout=0.0))),
}


def slow_unless(*quick: str) -> list[Any]:
    """The names of the projects; all but a few are left out of the quick tests."""
    return [pytest.param(n, marks=() if n in quick else pytest.mark.slow) for n in PROJECTS]


@pytest.mark.parametrize("lines", [one_line, three_lines])
@pytest.mark.parametrize("name", slow_unless("3-D lifter"))
def test_scores_are_those_by_hand(name, lines, tmp_path):
    path, settings = PROJECTS[name]
    # MSPN's fresh weights are so sharp that rounding in fp32 shows: both sides are far from fp64.
    within = 0.15 if name == "heatmap, MSPN" else 0.05
    check_scores(project(path, **settings), tmp_path, lines, within)


@pytest.mark.slow
def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path):
    path, settings = PROJECTS["heatmap, ResNet-50"]
    check_resume(project(path, **settings), tmp_path, one_line)


@pytest.fixture
def mmdet_hook():
    """A stand-in for mmdet's hook that changes the pipeline in the last epochs."""

    class PipelineSwitchHook(Hook):
        def __init__(self, switch_epoch, switch_pipeline):
            self.switch_epoch, self.switch_pipeline = switch_epoch, switch_pipeline

    HOOKS.children.pop("mmdet", None)
    registry = Registry("hook", parent=HOOKS, scope="mmdet")
    registry._imported = True  # there is no mmdet to import
    registry.register_module(module=PipelineSwitchHook)
    yield
    HOOKS.children.pop("mmdet")


RTMPOSE = "body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py"


@pytest.mark.skipif(find_spec("mmdet") is not None, reason="mmdet is installed")
def test_rtmpose_needs_mmdet_with_and_without_us(tmp_path):
    """Its own config names a hook of mmdet; that is said by MMEngine, before AUSAM is met."""
    for lines in (one_line, lambda cfg: None):
        with pytest.raises(KeyError, match="mmdet.PipelineSwitchHook"):
            runner_of(project(RTMPOSE), tmp_path, lines)


@pytest.mark.parametrize("lines", [one_line, three_lines])
def test_rtmpose_with_its_hook_stood_in_for(lines, tmp_path, mmdet_hook):
    check_scores(project(RTMPOSE), tmp_path, lines)
