"""Draw the skeleton of a person on an image.

    python tools/demo.py person.jpg --config configs/simcc_mpii_ausam_mini.py \\
        --checkpoint work_dirs/quickstart/epoch_20.pth --out pose.png

The whole image is taken for one person unless ``--bbox`` says where the person is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from _common import load_config, run_tool
from _drawing import draw_pose, pose_names
from _start import require_file
from PIL import Image, UnidentifiedImageError

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Draw the skeleton of a person on an image")
    parser.add_argument("image", type=Path)
    parser.add_argument("--config", required=True, help="configuration the model was trained with")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", type=Path, help="default: IMAGE_pose.png in the current folder")
    parser.add_argument("--bbox", metavar="X1,Y1,X2,Y2", help="the person, in pixels")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(argv)


def parse_bbox(text: str, size: tuple[int, int]) -> np.ndarray:
    """``x1,y1,x2,y2`` in pixels as an array of shape (4,), checked against the image's size."""
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise AusamError(f"--bbox must be four numbers x1,y1,x2,y2, not {text}") from error
    width, height = size
    if not (x1 < x2 and y1 < y2 and x2 > 0 and y2 > 0 and x1 < width and y1 < height):
        raise AusamError(f"--bbox {text} is no box on an image of {width} x {height} pixels")
    return np.array([x1, y1, x2, y2], dtype=np.float32)


def open_image(path: Path) -> Image.Image:
    """An RGB image, or one sentence about why not."""
    require_file(path, "image")
    try:
        return Image.open(path).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise AusamError(f"{path} cannot be read as an image: {error}") from error


def main(argv: list[str] | None = None) -> None:
    """Predict and draw."""
    args = parse_args(argv)
    image = open_image(args.image)
    box = parse_bbox(args.bbox, image.size) if args.bbox else None
    cfg = load_config(args.config)
    require_file(args.checkpoint, "checkpoint")
    check_checkpoint(args.checkpoint)

    from mmpose.apis import inference_topdown, init_model  # importable once the task is imported

    model = init_model(cfg, args.checkpoint, device=args.device)
    pixels = np.ascontiguousarray(np.asarray(image)[..., ::-1])  # MMPose reads as OpenCV does: BGR
    boxes = None if box is None else box[None]
    (sample,) = inference_topdown(model, pixels, boxes)
    keypoints = sample.pred_instances.keypoints[0]
    out = args.out or Path(f"{args.image.stem}_pose.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_pose(image, keypoints, pose_names(model.dataset_meta)).save(out)
    print(out)


if __name__ == "__main__":
    run_tool(main)
