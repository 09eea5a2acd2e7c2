"""MMPose's PCKh gives the published figures, and a perfect model of ours lands on the joints."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from mmpose.datasets import MpiiDataset
from mmpose.evaluation.metrics import MpiiPCKAccuracy

from tasks.pose import ZeroBasedMpiiDataset

SAMPLE = Path(__file__).parents[2] / "data" / "pose"
PARTS = ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle"]

# PCKh@0.5 of the seven parts, mean, mean at 0.1; then both means after a pixel right and down.
PUBLISHED = {
    "hg_s1_b1": ([95.12, 93.61, 85.53, 79.56, 84.51, 78.28, 73.38, 85.08, 22.81], (85.26, 26.91)),
    "hg_s2_b1": ([95.80, 94.57, 88.12, 83.31, 86.24, 80.88, 77.44, 87.30, 23.91], (87.50, 28.42)),
    "hg_s8_b1": ([96.79, 95.19, 90.08, 85.32, 87.48, 84.26, 80.73, 89.09, 24.49], (89.23, 29.17)),
}


def pckh(predictions: np.ndarray, joints: np.ndarray, visible: np.ndarray, heads: np.ndarray):
    """Scores of `MpiiPCKAccuracy` for predictions (N, 16, 2) in 0-based pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = MpiiPCKAccuracy()
    for i in range(len(joints)):
        truth = dict(
            keypoints=joints[i : i + 1],
            keypoints_visible=visible[i : i + 1],
            head_size=np.full((1, 1), heads[i]),
        )
        sample = dict(pred_instances=dict(keypoints=predictions[i : i + 1]), gt_instances=truth)
        metric.process([], [sample])
    return metric.evaluate(len(joints))


@pytest.mark.parametrize("model", PUBLISHED)
def test_mmpose_scores_published_predictions_as_published(model):
    with np.load(SAMPLE / "mpii/annotations/mpii_val_reference.npz") as data:
        joints, visible = data["joints_x16"] / 16, data["missing"] == 0
        predictions, heads = data[model] + joints.round(), data["head_sizes"]
    expected, moved = PUBLISHED[model]
    scores = pckh(predictions - 1, joints, visible, heads)
    found = [scores[f"{part} PCK"] for part in PARTS] + [scores["PCK"], scores["PCK@0.1"]]
    np.testing.assert_allclose(found, expected, atol=0.011)  # joints are stored to 1/16 pixel
    scores = pckh(predictions, joints, visible, heads)
    np.testing.assert_allclose([scores["PCK"], scores["PCK@0.1"]], moved, atol=0.011)


def errors_of_a_perfect_model(kind: type[MpiiDataset]) -> np.ndarray:
    """What is left (N, 16, 2) of the training target as the metric compares it, visible joints."""
    files = dict(ann_file="annotations/mpii_sample.json", data_root=str(SAMPLE / "mpii"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MMPose's own class falls back to its own names of joints
        trained, scored = kind(**files), kind(**files, test_mode=True)
    errors = []
    for target, truth in zip(trained, scored, strict=True):
        errors.append(
            (target["keypoints"] + 1 - truth["keypoints"])[target["keypoints_visible"] > 0]
        )
    return np.concatenate(errors)


def test_a_perfect_model_misses_by_a_pixel_under_mmpose_and_by_nothing_here():
    np.testing.assert_array_equal(errors_of_a_perfect_model(MpiiDataset), 1)
    np.testing.assert_array_equal(errors_of_a_perfect_model(ZeroBasedMpiiDataset), 0)


def test_joint_names_come_from_the_repository_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = ZeroBasedMpiiDataset(lazy_init=True)
    with pytest.warns(UserWarning, match="metainfo"):
        mmpose = MpiiDataset(lazy_init=True)
    assert dataset.metainfo.keys() == mmpose.metainfo.keys()
    for key, value in mmpose.metainfo.items():
        np.testing.assert_array_equal(dataset.metainfo[key], value, err_msg=key)
