"""Each kind of fault is counted, shown once, and does to training what its sentence says."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ausam_core.errors import AusamError
from tasks.pose import OwnPoseDataset, ZeroBasedMpiiDataset, check_dataset
from tests.data.make_coco_sample import to_coco

MINI = Path(__file__).parents[3] / "configs/simcc_mpii_ausam_mini.py"
SAMPLE = Path(__file__).parents[2] / "data/pose/lspet"
MPII = json.loads((SAMPLE / "annotations/lspet_val.json").read_text())[:6]
COCO = to_coco(MPII, 14)
NAN = float("nan")


def config(form: str, content: object, folder: Path) -> dict:
    """Config of a data set with this annotation file and the images of the sample."""
    path = folder / "list.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return dict(
        type="OwnPoseDataset" if form == "coco" else "ZeroBasedMpiiDataset",
        ann_file=str(path),
        data_prefix=dict(img=str(SAMPLE / "images") + "/"),
    )


def build(cfg: dict, **kwargs):
    cfg = {**cfg, **kwargs}
    kind = OwnPoseDataset if cfg.pop("type") == "OwnPoseDataset" else ZeroBasedMpiiDataset
    return kind(**cfg)


def visible_joint(person: dict) -> int:
    return person["joints_vis"].index(1)


def set_joint(person: dict, value: list) -> None:
    if "joints" in person:
        person["joints"][visible_joint(person)] = value
    else:
        k = next(k for k in range(14) if person["keypoints"][3 * k + 2])
        person["keypoints"][3 * k : 3 * k + 2] = value


def hide_all(person: dict) -> None:
    if "joints" in person:
        person["joints_vis"] = [0] * 16
    else:
        person["keypoints"][2::3] = [0] * 14


def flatten(person: dict) -> None:
    if "joints" in person:
        person["scale"] = 0
    else:
        person["bbox"][2] = 0


# what is done to persons 1 and 3, words of the sentence, how many are left, whether it is by form
PASSED_OVER = {
    "NaN joint": (lambda p: set_joint(p, [NAN, 3.0]), "no number", 6),
    "null joint": (lambda p: set_joint(p, [None, None]), "no number", 6),
    "far joint": (lambda p: set_joint(p, [9000, 5]), "outside the image", 6),
    "no box": (flatten, "no box", 4),
    "all hidden": (hide_all, "no visible joint", 4),
}
FATAL = {
    "no flags": (
        lambda p: p.pop("joints_vis", p.pop("image_id", None)),
        "lack what a person needs",
    ),
    "four joints": (
        lambda p: p.update(
            {
                k: p[k][:n]
                for k, n in (("joints", 4), ("joints_vis", 4), ("keypoints", 12))
                if k in p
            }
        ),
        "4 joints",
    ),
    "words": (
        lambda p: p.update({"joints" if "joints" in p else "keypoints": "none"}),
        "else than numbers",
    ),
}


def spoiled(form: str, spoil) -> object:
    content = copy.deepcopy(MPII if form == "mpii" else COCO)
    persons = content if form == "mpii" else content["annotations"]
    for i in (1, 3):
        spoil(persons[i])
    return content


@pytest.mark.parametrize("form", ["mpii", "coco"])
@pytest.mark.parametrize("fault", PASSED_OVER)
def test_what_is_passed_over_is_said_once_with_number_and_first(form, fault, tmp_path, capsys):
    spoil, words, left = PASSED_OVER[fault]
    cfg = config(form, spoiled(form, spoil), tmp_path)
    check_dataset(cfg)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"warning: {cfg['ann_file']}: 2 of 6 persons") and words in line
    assert f"image {MPII[1]['image']}" in line
    dataset = build(cfg)
    assert len(dataset) == left
    for i in range(left):
        assert np.isfinite(dataset[i]["keypoints"]).all()
        assert dataset[i]["keypoints_visible"].any()


@pytest.mark.parametrize("form", ["mpii", "coco"])
@pytest.mark.parametrize("value", [[NAN, 3.0], [9000, 5]], ids=["no number", "outside"])
def test_such_a_joint_weighs_nothing_in_training(form, value, tmp_path):
    init_default_scope("mmpose")
    mini = Config.fromfile(MINI)
    pipeline = mini.val_dataloader.dataset.pipeline
    pipeline.insert(3, dict(type="GenerateTarget", encoder=mini.codec))
    content = spoiled(form, lambda person: set_joint(person, value))
    whole = build(config(form, spoiled(form, lambda p: None), tmp_path), pipeline=pipeline)[1]
    odd = build(config(form, content, tmp_path), pipeline=pipeline)[1]
    weights = [s["data_samples"].gt_instance_labels.keypoint_weights for s in (whole, odd)]
    assert (weights[0] != weights[1]).sum() == 1 and weights[1].sum() < weights[0].sum()
    labels = odd["data_samples"].gt_instance_labels.keypoint_x_labels
    assert labels.isfinite().all()


@pytest.mark.parametrize("form", ["mpii", "coco"])
@pytest.mark.parametrize("fault", FATAL)
def test_what_cannot_be_trained_on_stops_in_one_sentence(form, fault, tmp_path):
    spoil, words = FATAL[fault]
    cfg = config(form, spoiled(form, spoil), tmp_path)
    with pytest.raises(AusamError) as caught:
        check_dataset(cfg)
    message = str(caught.value)
    assert message.startswith(f"{cfg['ann_file']}: 2 of 6 persons") and words in message
    assert "(first: " in message and "\n" not in message


@pytest.mark.parametrize("form", ["mpii", "coco"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no whole JSON"),
        ("[]", "is empty"),
        ('{"annotations": []}', "is empty"),
        ("{}", "COCO"),
    ],
)
def test_an_empty_file_is_said_to_be_so(form, content, words, tmp_path):
    with pytest.raises(AusamError, match=words):
        check_dataset(config(form, content, tmp_path))


@pytest.mark.parametrize("form", ["mpii", "coco"])
def test_a_file_of_which_nobody_is_left_is_refused(form, tmp_path):
    content = copy.deepcopy(MPII if form == "mpii" else COCO)
    for person in content if form == "mpii" else content["annotations"]:
        hide_all(person)
    with pytest.raises(AusamError, match="no person can be trained on .6 of 6"):
        check_dataset(config(form, content, tmp_path))


def test_an_annotation_without_its_image_is_fatal_and_a_crowd_is_not(tmp_path, capsys):
    content = copy.deepcopy(COCO)
    content["annotations"][2]["iscrowd"] = 1
    cfg = config("coco", content, tmp_path)
    check_dataset(cfg)
    assert capsys.readouterr().out == "" and len(build(cfg)) == 5
    content["images"].pop(4)
    with pytest.raises(AusamError, match="image_id 4 is not among its images"):
        check_dataset(config("coco", content, tmp_path))


def test_under_mmposes_own_class_the_sentence_says_what_that_does(tmp_path, capsys):
    content = spoiled("mpii", lambda person: set_joint(person, [NAN, 3.0]))
    check_dataset({**config("mpii", content, tmp_path), "type": "MpiiDataset"})
    assert "becomes NaN" in capsys.readouterr().out


def test_other_ranks_say_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    check_dataset(config("mpii", spoiled("mpii", hide_all), tmp_path))
    assert capsys.readouterr().out == ""


def test_all_hidden_persons_stay_in_evaluation(tmp_path):
    cfg = config("mpii", spoiled("mpii", hide_all), tmp_path)
    assert (len(build(cfg)), len(build(cfg, test_mode=True))) == (4, 6)


def test_flags_above_one_count_as_one(tmp_path):
    content = spoiled("mpii", lambda p: p.update(joints_vis=[2 * v for v in p["joints_vis"]]))
    dataset = build(config("mpii", content, tmp_path))
    assert set(np.unique(dataset[1]["keypoints_visible"])) == {0, 1}
