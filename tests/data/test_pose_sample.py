"""The pose sample is what its README says it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

SAMPLE = Path(__file__).parent / "pose"
LISTS = ["lspet/annotations/lspet_train", "lspet/annotations/lspet_val"]
LISTS += ["mpii/annotations/mpii_sample"]
UPRIGHT = [f"lspet/annotations/lspet_upright_{split}" for split in ("train", "val")]
UNSCORED = [6, 7]  # pelvis and thorax, which PCKh leaves out


def persons(name: str) -> list[dict]:
    return json.loads((SAMPLE / f"{name}.json").read_text())


def box_relative(people: list[dict]) -> np.ndarray:
    """Joints (N, 16, 2) in units of the person's box, seen from its centre; hidden ones are NaN."""
    joints = np.array([p["joints"] for p in people])
    joints[np.array([p["joints_vis"] for p in people]) == 0] = np.nan
    scale = np.array([p["scale"] for p in people])[:, None, None]
    center = np.array([p["center"] for p in people])[:, None] + np.array([0, 15]) * scale
    return (joints - center) / (200 * scale)


def test_counts_and_splits_share_no_image():
    train, val = persons(LISTS[0]), persons(LISTS[1])
    assert (len(train), len(val), len(persons(LISTS[2]))) == (1500, 150, 5)
    assert not {p["image"] for p in train} & {p["image"] for p in val}


def test_the_upright_persons_are_kept_apart_too():
    train, val = (persons(name) for name in UPRIGHT)
    assert (len(train), len(val)) == (720, 136)
    trained = {p["image"]: p for p in persons(LISTS[0])}
    assert all(person == trained[person["image"]] for person in train)
    assert not any(person["image"] in trained for person in val)


@pytest.mark.parametrize("name", UPRIGHT)
def test_upright_persons_have_head_above_shoulders_above_hips(name):
    joints = np.array([p["joints"] for p in persons(name)])
    hips, shoulders, head = joints[:, 2:4].mean(1), joints[:, 12:14].mean(1), joints[:, 9]
    for above in (shoulders - hips, head - hips):
        assert (-above[:, 1] > np.cos(np.radians(46)) * np.linalg.norm(above, axis=1)).all()


@pytest.mark.parametrize("name", [*LISTS, *UPRIGHT])
def test_every_visible_joint_lies_in_its_image(name):
    for person in persons(name):
        path = SAMPLE / name.split("/")[0] / "images" / person["image"]
        joints = np.array(person["joints"])[np.array(person["joints_vis"]) > 0]
        assert len(joints) >= 11
        assert (joints > 0).all() and (joints <= np.array(Image.open(path).size) + 0.5).all(), path


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        (LISTS[1], "lspet/annotations/lspet_gt_val"),
        (UPRIGHT[1], "lspet/annotations/lspet_gt_upright_val"),
        (LISTS[2], "mpii/annotations/mpii_gt_sample"),
    ],
)
def test_joints_of_the_list_are_those_of_the_mat_file(name, truth):
    truth = loadmat(SAMPLE / f"{truth}.mat")
    people = persons(name)
    visible = np.array([p["joints_vis"] for p in people]) > 0
    joints = np.array([p["joints"] for p in people])
    np.testing.assert_array_equal(visible, truth["jnt_missing"].T == 0)
    there = truth["pos_gt_src"].transpose(2, 0, 1)
    np.testing.assert_allclose(joints[visible], there[visible], atol=0.01)
    heads = np.linalg.norm(np.diff(truth["headboxes_src"], axis=0)[0], axis=0)
    neck_to_head = np.linalg.norm(joints[:, 9] - joints[:, 8], axis=1)
    assert np.median(heads / neck_to_head) == pytest.approx(1.25, abs=0.05)


@pytest.mark.parametrize(("kind", "score"), [("", 3.3), ("upright_", 9.5)])
def test_the_mean_pose_scores_what_a_model_has_to_beat(kind, score):
    train, val = (persons(f"lspet/annotations/lspet_{kind}{split}") for split in ("train", "val"))
    truth = loadmat(SAMPLE / f"lspet/annotations/lspet_gt_{kind}val.mat")
    box = 200 * np.array([p["scale"] for p in val])
    train, val = box_relative(train), box_relative(val)
    head = 0.6 * np.linalg.norm(np.diff(truth["headboxes_src"], axis=0)[0], axis=0)
    scored = [k for k in range(16) if k not in UNSCORED]
    mean_pose = np.nanmean(train[:, scored], axis=0)
    distance = np.linalg.norm(val[:, scored] - mean_pose, axis=-1) * (box / head)[:, None]
    pckh = 100 * (distance <= 0.5).sum() / np.isfinite(distance).sum()
    assert pckh == pytest.approx(score, abs=0.1)
