"""Pose tests share small copies of the real sample, to break on purpose."""

import json
import shutil
from pathlib import Path

import pytest
from scipy.io import loadmat, savemat

SAMPLE = Path(__file__).parents[2] / "data" / "pose"


@pytest.fixture
def dataset(tmp_path: Path) -> dict:
    """Config of a data set of three persons of its own, with its files under ``tmp_path``."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    persons = json.loads((SAMPLE / "lspet/annotations/lspet_val.json").read_text())[:3]
    (tmp_path / "annotations/list.json").write_text(json.dumps(persons))
    for person in persons:
        shutil.copy(SAMPLE / "lspet/images" / person["image"], tmp_path / "images")
    truth = loadmat(SAMPLE / "lspet/annotations/lspet_gt_val.mat")
    boxes = truth["headboxes_src"][..., :3]
    savemat(tmp_path / "annotations/gt.mat", {"headboxes_src": boxes})
    return dict(
        type="ZeroBasedMpiiDataset",
        data_root=str(tmp_path),
        ann_file="annotations/list.json",
        headbox_file=str(tmp_path / "annotations/gt.mat"),
        data_prefix=dict(img="images/"),
        test_mode=True,
    )
