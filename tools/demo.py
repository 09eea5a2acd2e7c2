"""Find the pose of a person on an image, on all images of a folder, or in a video.

    python tools/demo.py person.jpg --config configs/simcc_lite0_ausam_upright.py \\
        --checkpoint work_dirs/quickstart/epoch_34.pth --out pose.png --json pose.json

Draws the skeletons, and with ``--json`` writes the joints. The whole image is taken for one person
unless ``--bbox`` says where persons are; it may be given more than once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import Options, load_config, run_tool
from _drawing import Skeleton, draw_pose, skeleton_of
from _pictures import Frame, Output, frames_of
from _start import check_weights, read_weights, require_file, require_place
from mmengine.config import Config
from PIL import Image

from ausam_core.errors import AusamError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path, help="an image, a folder of images, or a video")
    parser.add_argument("--config", required=True, help="configuration the model was trained with")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument(
        "--out", type=Path, help="default: INPUT_pose.png, INPUT_pose/ or INPUT_pose.mp4, here"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the joints here")
    parser.add_argument(
        "--bbox", action="append", metavar="X1,Y1,X2,Y2", help="a person, in pixels, on every frame"
    )
    parser.add_argument("--cfg-options", nargs="+", action=Options, metavar="KEY=VALUE")
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


def boxes_on(image: Image.Image, texts: list[str] | None) -> np.ndarray:
    """Boxes (N, 4) of the persons on an image: the whole of it where nothing is said."""
    if not texts:
        return np.array([[0, 0, *image.size]], dtype=np.float32)
    return np.stack([parse_bbox(text, image.size) for text in texts])


def load_model(cfg: Config, checkpoint: str, device: str) -> torch.nn.Module:
    """The model with its weights; MMEngine would go on with random ones where they do not fit."""
    require_file(checkpoint, "checkpoint")
    read_weights(checkpoint)  # what is none, before a model is built
    if "backbone" not in (cfg.get("model") or {}):
        raise AusamError(f"{cfg.filename} has no pose model; configs/simcc_*.py have one")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise AusamError(f"--device {device} cannot be used here ({reason})") from error

    from mmpose.apis import init_model  # importable once the task is imported

    model = init_model(cfg, checkpoint, device=device)
    check_weights(model, checkpoint, cfg.filename)
    return model


def find_poses(model: torch.nn.Module, image: Image.Image, boxes: np.ndarray) -> np.ndarray:
    """Joints (N, K, 3) of the persons in the boxes: x, y in pixels from 0, score."""
    from mmpose.apis import inference_topdown  # importable once the task is imported

    pixels = np.ascontiguousarray(np.asarray(image)[..., ::-1])  # MMPose reads as OpenCV does: BGR
    found = [sample.pred_instances for sample in inference_topdown(model, pixels, boxes)]
    scored = [np.dstack([each.keypoints, each.keypoint_scores])[0] for each in found]
    return np.stack(scored)


def as_json(frame: Frame, boxes: np.ndarray, poses: np.ndarray) -> list[dict[str, Any]]:
    """One entry a person: the image or frame, the box, and x, y, score of each joint."""
    return [
        dict(**frame.place, bbox=box.tolist(), keypoints=np.round(pose.astype(float), 3).tolist())
        for box, pose in zip(boxes, poses, strict=True)
    ]


def draw(frame: Frame, poses: np.ndarray, skeleton: Skeleton) -> Image.Image:
    """The frame with all its skeletons."""
    image = frame.image
    for pose in poses:
        image = draw_pose(image, pose[:, :2], skeleton)
    return image


def main(argv: list[str] | None = None) -> None:
    """Predict, draw, and write the joints."""
    args = parse_args(argv)
    frames = frames_of(args.input)
    first = next(frames)  # what is no image, and a box that is none, before a model is built
    boxes_on(first.image, args.bbox)
    for flag, path in (("--out", args.out), ("--json", args.json)):
        require_place(path, flag)
    output = Output(args.input, args.out)
    model = load_model(load_config(args.config, args.cfg_options), args.checkpoint, args.device)
    skeleton, entries, frame = skeleton_of(model.dataset_meta), [], first
    while frame is not None:
        boxes = boxes_on(frame.image, args.bbox)
        poses = find_poses(model, frame.image, boxes)
        entries += as_json(frame, boxes, poses)
        output.write(frame, draw(frame, poses, skeleton))
        frame = next(frames, None)
    output.close()
    print(output.path)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(dict(joints=list(skeleton.names), poses=entries)) + "\n")
        print(args.json)


if __name__ == "__main__":
    run_tool(main)
