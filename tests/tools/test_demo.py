"""The demo draws a pose of a real model on a real image."""

from pathlib import Path

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
