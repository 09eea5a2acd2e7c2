"""Annotations are drawn as they are and as the network sees them, for every form of data."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.make_coco_sample import NAMES, to_coco

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "tests/data/pose/lspet"
PERSONS = json.loads((SAMPLE / "annotations/lspet_val.json").read_text())[:5]


@pytest.fixture
def browse(tool):
    return tool("browse_dataset")


def options(folder: Path, joints: int) -> list[str]:
    (folder / "list.json").write_text(json.dumps(to_coco(PERSONS, joints)))
    dataset = "train_dataloader.dataset"
    return [
        "--cfg-options",
        f"{dataset}.data_root={folder}",
        f"{dataset}.ann_file=list.json",
        f"{dataset}.data_prefix.img={SAMPLE / 'images'}/",
    ]


@pytest.mark.parametrize("mode", ["original", "transformed"])
@pytest.mark.parametrize("joints", NAMES)
def test_a_sheet_shows_every_person_with_limbs_in_colour(browse, tmp_path, joints, mode, capsys):
    from _drawing import COLOURS

    argv = ["--mode", mode, "--output-dir", str(tmp_path), *options(tmp_path, joints)]
    browse.main([str(ROOT / "configs/simcc_custom.py"), *argv])
    out = tmp_path / f"simcc_custom_train_{mode}.png"
    assert capsys.readouterr().out.endswith(f"{out}\n")
    sheet = np.asarray(Image.open(out), int)
    for i in range(len(PERSONS)):
        tile = sheet[84:, 6 + i * 230 : 230 + i * 230]
        for side in ("left", "right"):
            assert (np.abs(tile - COLOURS[side]).max(-1) < 30).sum() > 20


def test_two_calls_draw_the_same_sheet(browse, tmp_path):
    sheets = []
    for name in ("one", "two"):
        argv = ["--mode", "transformed", "--count", "2", "--output-dir", str(tmp_path / name)]
        browse.main([str(ROOT / "configs/simcc_mpii_ausam_mini.py"), *argv])
        sheets.append(
            (tmp_path / name / "simcc_mpii_ausam_mini_train_transformed.png").read_bytes()
        )
    assert sheets[0] == sheets[1]


def test_joints_lie_on_the_same_pixels_in_training_and_in_scoring(browse):
    """MPII counts its joints from 1 where they are scored; the picture begins at 0."""
    points = []
    for test_mode in (False, True):
        cfg = browse.load_config(ROOT / "configs/simcc_mpii_ausam_mini.py")
        cfg.val_dataloader.dataset.test_mode = test_mode
        if not test_mode:
            cfg.val_dataloader.dataset.headbox_file = None
        points.append(browse.original(browse.build_dataset(cfg, "val", "original"), 3).keypoints)
    np.testing.assert_allclose(points[0], points[1], atol=1e-4)
    assert np.isnan(points[0][6]).all()  # the pelvis, which nobody annotated


def test_a_folder_that_cannot_be_made_is_one_sentence(browse, fails_with, tmp_path):
    (tmp_path / "file").touch()
    argv = [ROOT / "configs/simcc_mpii_ausam_mini.py", "--output-dir", tmp_path / "file/below"]
    assert "choose another with --output-dir" in fails_with(browse.main, *argv)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--count", "0"], "--count"),
        (["--cfg-options", "train_dataloader=None"], "no train_dataloader"),
        (["--cfg-options", "train_dataloader.dataset.data_root=nowhere"], "own_pose_data.md"),
    ],
)
def test_mistakes_are_one_sentence(browse, fails_with, tmp_path, argv, says):
    config = ROOT / "configs/simcc_custom.py"
    assert says in fails_with(browse.main, config, "--output-dir", tmp_path, *argv)
    assert not list(tmp_path.glob("*.png"))
