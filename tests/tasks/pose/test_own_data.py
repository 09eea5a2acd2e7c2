"""Both forms of annotations, any joints: the same persons, the same pixels, a run that learns."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from ausam_core.errors import AusamError
from tasks.pose import OwnPoseDataset, check_config, check_dataset
from tests.data.make_coco_sample import MPII, NAMES, to_coco

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "tests/data/pose/lspet"
PERSONS = json.loads((SAMPLE / "annotations/lspet_val.json").read_text())[:24]
FORMS = {
    "mpii": PERSONS,
    "coco-14": to_coco(PERSONS, 14),
    "coco-17": to_coco(PERSONS, 17),
}


def files(form: str, folder: Path) -> dict:
    (folder / "list.json").write_text(json.dumps(FORMS[form]))
    images = dict(img=str(SAMPLE / "images") + "/")
    return dict(ann_file=str(folder / "list.json"), data_prefix=images)


@pytest.mark.parametrize("joints", [14, 17])
def test_a_coco_file_says_the_same_as_an_mpii_list(tmp_path, joints):
    mpii = OwnPoseDataset(**files("mpii", tmp_path))
    mpii.full_init()
    coco = OwnPoseDataset(**files(f"coco-{joints}", tmp_path))
    assert len(mpii) == len(coco) == len(PERSONS)
    assert list(coco.metainfo["keypoint_id2name"].values()) == NAMES[joints]
    shared = [name for name in NAMES[joints] if name in MPII]
    for one, other in zip(mpii, coco, strict=True):
        assert one["img_path"] == other["img_path"]
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.11)
        for name in shared:
            a, b = MPII.index(name), NAMES[joints].index(name)
            assert one["keypoints_visible"][0, a] == other["keypoints_visible"][0, b]
            if one["keypoints_visible"][0, a]:
                np.testing.assert_allclose(
                    one["keypoints"][0, a], other["keypoints"][0, b], atol=0.06
                )


def test_links_and_twins_come_from_the_file(tmp_path):
    meta = OwnPoseDataset(**files("coco-17", tmp_path)).metainfo
    names = meta["keypoint_id2name"]
    pairs = {(names[a], names[b]) for a, b in meta["skeleton_links"]}
    assert ("left_hip", "left_shoulder") in pairs and len(pairs) == 12
    assert names[meta["flip_indices"][1]] == "right_eye"


def test_a_list_without_names_asks_for_them_and_takes_them(tmp_path):
    persons = [{**p, "joints": p["joints"][:3], "joints_vis": p["joints_vis"][:3]} for p in PERSONS]
    (tmp_path / "list.json").write_text(json.dumps(persons))
    cfg = dict(ann_file="list.json", data_root=str(tmp_path))
    with pytest.raises(AusamError, match="3 joints and does not name them.*joints="):
        OwnPoseDataset(**cfg)
    meta = OwnPoseDataset(**cfg, joints=["a", "b", "c"], links=[["a", "c"]]).metainfo
    assert (meta["num_keypoints"], meta["skeleton_links"]) == (3, [(0, 2)])


def test_a_missing_file_points_to_the_guide(tmp_path):
    with pytest.raises(AusamError, match="nowhere.json is not there; docs/own_pose_data.md"):
        check_dataset(dict(type="OwnPoseDataset", data_root=str(tmp_path), ann_file="nowhere.json"))
    assert (ROOT / "docs/own_pose_data.md").is_file()


def test_images_in_subfolders_are_looked_up_there(tmp_path):
    (tmp_path / "images/b").mkdir(parents=True)
    content = to_coco(PERSONS[:2], 14)
    for image in content["images"]:
        data = (SAMPLE / "images" / image["file_name"]).read_bytes()
        (tmp_path / "images/b" / image["file_name"]).write_bytes(data)
        image["file_name"] = "b/" + image["file_name"]
    (tmp_path / "list.json").write_text(json.dumps(content))
    cfg = dict(type="OwnPoseDataset", data_root=str(tmp_path), ann_file="list.json")
    cfg["data_prefix"] = dict(img="images/")
    assert check_dataset(cfg) == 14
    (tmp_path / "images" / content["images"][1]["file_name"]).unlink()
    with pytest.raises(AusamError, match="1 of the 2 images"):
        check_dataset(cfg)


def custom(form: str, folder: Path, name: str = "simcc_custom") -> Config:
    """A config of the guide, cut down to a second: one's own data and a slim network."""
    cfg = Config.fromfile(ROOT / f"configs/{name}.py")
    mini = Config.fromfile(ROOT / "configs/simcc_mpii_ausam_mini.py")
    joints = {"mpii": 16, "coco-14": 14, "coco-17": 17}[form]
    cfg.model, cfg.work_dir = mini.model, str(folder)
    cfg.model.head.out_channels = joints
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        loader.update(batch_size=8, num_workers=0, persistent_workers=False)
        pipeline = mini[f"{'train' if split == 'train' else 'val'}_dataloader"].dataset.pipeline
        loader.dataset.update(pipeline=pipeline, data_root=None, **files(form, folder))
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.randomness = dict(seed=0)
    return cfg


@pytest.mark.parametrize(
    "form, name", [*((form, "simcc_custom") for form in FORMS), ("coco-17", "simcc_custom_small")]
)
def test_the_config_for_ones_own_data_trains_and_scores(tmp_path, form, name):
    cfg = custom(form, tmp_path, name)
    check_config(cfg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = Runner.from_cfg(cfg)
        runner.train()
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert losses.size == 6 and np.isfinite(losses).all()
    assert 0 <= runner.message_hub.get_scalar("val/PCK").current() <= 100
    assert list(tmp_path.glob("best_PCK_*.pth"))


def test_another_number_of_joints_than_the_models_is_said_before_the_run(tmp_path):
    cfg = custom("coco-17", tmp_path)
    cfg.model.head.out_channels = 14
    with pytest.raises(AusamError, match="has 17 joints, but model.head.out_channels is 14"):
        check_config(cfg)


def test_a_perfect_answer_scores_everything_in_both_forms(tmp_path):
    from mmpose.evaluation.metrics import PCKAccuracy

    for form in FORMS:
        dataset, metric = OwnPoseDataset(**files(form, tmp_path), test_mode=True), PCKAccuracy()
        for sample in dataset:
            truth = dict(
                keypoints=sample["keypoints"],
                keypoints_visible=sample["keypoints_visible"],
                bboxes=sample["bbox"],
            )
            answer = dict(pred_instances=dict(keypoints=sample["keypoints"]), gt_instances=truth)
            metric.process([], [answer])
        assert metric.evaluate(len(dataset))["PCK"] == 1
