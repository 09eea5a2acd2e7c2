"""The demo finds poses with a real model on real images, in folders and in videos."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/simcc_mpii_ausam_mini.py"
IMAGE = ROOT / "tests/data/pose/lspet/images/00006.jpg"


@pytest.fixture
def demo(tool):
    return tool("demo")


@pytest.fixture
def checkpoint(demo, tmp_path) -> Path:
    """An untrained mini model: its poses are wrong, but drawn all the same."""
    from mmengine.registry import init_default_scope

    cfg = demo.load_config(CONFIG)
    init_default_scope("mmpose")
    from mmpose.models import build_pose_estimator

    torch.manual_seed(0)
    path = tmp_path / "mini.pth"
    torch.save({"state_dict": build_pose_estimator(cfg.model).state_dict(), "meta": {}}, path)
    return path


def run(demo, image: Path, checkpoint: Path, *argv: str) -> None:
    fixed = [str(image), "--config", str(CONFIG), "--checkpoint", str(checkpoint)]
    demo.main([*fixed, "--device", "cpu", *argv])


def test_a_skeleton_is_drawn_on_the_image(demo, checkpoint, tmp_path, capsys):
    out = tmp_path / "drawn/pose.png"
    run(demo, IMAGE, checkpoint, "--out", str(out))
    drawn, plain = Image.open(out), Image.open(IMAGE)
    assert drawn.size == plain.size
    changed = np.abs(np.asarray(drawn, int) - np.asarray(plain, int)).max(-1) > 60
    assert 50 < changed.sum() < 0.9 * changed.size
    assert capsys.readouterr().out.endswith(f"{out}\n")


def test_a_box_moves_the_pose_into_it(demo, checkpoint, tmp_path):
    out = tmp_path / "pose.png"
    run(demo, IMAGE, checkpoint, "--out", str(out), "--bbox", "90,90,138,136")
    plain = np.asarray(Image.open(IMAGE), int)
    changed = np.abs(np.asarray(Image.open(out), int) - plain).max(-1) > 60
    assert changed[70:, 70:].sum() > 0.9 * changed.sum() > 0


@pytest.mark.parametrize(
    "box", ["1,2,3", "a,b,c,d", "50,50,40,60", "500,500,600,600", "-9,-9,-1,-1"]
)
def test_a_box_that_is_none_is_refused(demo, checkpoint, fails_with, tmp_path, box):
    out = tmp_path / "pose.png"
    argv = [IMAGE, "--config", CONFIG, "--checkpoint", checkpoint, "--out", out, f"--bbox={box}"]
    assert box in fails_with(demo.main, *argv)
    assert not out.exists()


def test_what_is_no_image_or_no_checkpoint_is_named(demo, checkpoint, fails_with, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    model = ["--config", CONFIG, "--checkpoint", checkpoint]
    assert "nowhere.jpg" in fails_with(demo.main, "nowhere.jpg", *model)
    assert "text.jpg" in fails_with(demo.main, text, *model)
    broken = ["--config", CONFIG, "--checkpoint", text]
    assert "text.jpg" in fails_with(demo.main, IMAGE, *broken)


def poses_of(path: Path) -> tuple[list[str], list[dict]]:
    content = json.loads(path.read_text())
    return content["joints"], content["poses"]


def test_joints_are_written_where_the_skeleton_is_drawn(demo, checkpoint, tmp_path):
    out, answers = tmp_path / "pose.png", tmp_path / "answers/pose.json"
    boxes = ["--bbox", "0,0,138,136", "--bbox", "90,90,138,136"]
    run(demo, IMAGE, checkpoint, "--out", str(out), "--json", str(answers), *boxes)
    names, poses = poses_of(answers)
    assert len(names) == 16 and names[9] == "head_top"
    assert [pose["image"] for pose in poses] == [IMAGE.name] * 2
    assert poses[1]["bbox"] == [90, 90, 138, 136]
    keypoints = np.array([pose["keypoints"] for pose in poses])
    assert keypoints.shape == (2, 16, 3) and np.isfinite(keypoints).all()
    assert (keypoints[1, :, :2] > 70).all()  # in the second box
    changed = np.abs(np.asarray(Image.open(out), int) - np.asarray(Image.open(IMAGE), int)).max(-1)
    for k in (names.index("left_wrist"), names.index("right_ankle"), names.index("left_hip")):
        x, y = keypoints[1, k, :2].round().astype(int)
        assert changed[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].max() > 60


def test_a_folder_gives_a_folder_with_the_same_names(demo, checkpoint, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("00006.jpg", "00037.jpg"):
        shutil.copy(IMAGE.with_name(name), folder)
    (folder / "notes.txt").write_text("no image")
    out, answers = tmp_path / "out", tmp_path / "poses.json"
    run(demo, folder, checkpoint, "--out", str(out), "--json", str(answers))
    assert sorted(path.name for path in out.iterdir()) == ["00006.png", "00037.png"]
    assert [pose["image"] for pose in poses_of(answers)[1]] == ["00006.jpg", "00037.jpg"]


@pytest.mark.parametrize("ending", [".mp4", ".avi"])
def test_a_video_gives_a_video_of_the_same_length_and_size(demo, checkpoint, tmp_path, ending):
    source, out, answers = (tmp_path / f"{n}{ending}" for n in ("in", "out", "poses"))
    pixels = np.asarray(Image.open(IMAGE).resize((128, 96)))[..., ::-1]
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter_fourcc(*"MJPG"), 10, (128, 96))
    for _ in range(5):
        writer.write(np.ascontiguousarray(pixels))
    writer.release()
    if not source.is_file() or not cv2.VideoCapture(str(source)).read()[0]:
        pytest.skip("this OpenCV writes no such video")
    run(demo, source, checkpoint, "--out", str(out), "--json", str(answers))
    assert [pose["frame"] for pose in poses_of(answers)[1]] == [0, 1, 2, 3, 4]
    written = cv2.VideoCapture(str(out))
    assert written.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    frames = [written.read() for _ in range(6)]
    assert [there for there, _ in frames] == [True] * 5 + [False]
    assert frames[0][1].shape == (96, 128, 3)
    assert np.abs(frames[0][1].astype(int) - pixels).max() > 100  # something is drawn


def test_a_photo_is_turned_as_the_camera_was_held(demo, checkpoint, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = tmp_path / "photo.jpg"
    Image.open(IMAGE).resize((120, 80)).save(photo, exif=exif)
    run(demo, photo, checkpoint, "--out", str(tmp_path / "pose.png"))
    assert Image.open(tmp_path / "pose.png").size == (80, 120)


def test_inputs_and_outputs_that_do_not_go_are_refused(demo, checkpoint, fails_with, tmp_path):
    model = ["--config", CONFIG, "--checkpoint", checkpoint]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no image" in fails_with(demo.main, empty, *model)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    assert "broken.mp4" in fails_with(demo.main, broken, *model)
    shutil.copy(IMAGE, empty)
    assert "name another" in fails_with(demo.main, empty, *model, "--out", empty)


def test_weights_of_another_model_are_refused(demo, checkpoint, fails_with):
    argv = [IMAGE, "--config", CONFIG, "--checkpoint", checkpoint]
    line = fails_with(demo.main, *argv, "--cfg-options", "model.head.out_channels=17")
    assert "does not fit" in line and "final_layer" in line
