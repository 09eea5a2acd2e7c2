"""Draw what a configuration trains on: annotations as they are, or as the pipeline turns them.

    python tools/browse_dataset.py configs/simcc_custom.py
    python tools/browse_dataset.py CONFIG --phase val --mode transformed --count 60

Look at it before a long run: joints in the wrong order, left for right, boxes that cut, pixels that
are counted from elsewhere, all of these train without an error. Orange is left, blue is right.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _common import Options, check_task, load_config, run_tool
from _drawing import Person, draw_grid, skeleton_of
from _start import require_folder
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from ausam_core.errors import AusamError

# What comes after the picture that the network sees: targets, and tensors that nobody can look at.
AFTER_THE_PICTURE = ("GenerateTarget", "PackPoseInputs")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="configuration file")
    parser.add_argument("--phase", choices=["train", "val", "test"], default="train")
    parser.add_argument("--mode", choices=["original", "transformed"], default="original")
    parser.add_argument("--count", type=int, default=24, help="how many persons")
    parser.add_argument("--output-dir", type=Path, default=Path("work_dirs/browse"))
    parser.add_argument("--cfg-options", nargs="+", action=Options, metavar="KEY=VALUE")
    return parser.parse_args(argv)


def build_dataset(cfg: Config, phase: str, mode: str) -> Any:
    """The data set of a phase, with the part of its pipeline that makes the picture."""
    loader = cfg.get(f"{phase}_dataloader")
    if loader is None:
        raise AusamError(f"{cfg.filename} has no {phase}_dataloader")
    loader.dataset.pipeline = [
        step
        for step in loader.dataset.get("pipeline") or []
        if mode == "transformed" and step["type"] not in AFTER_THE_PICTURE
    ]
    init_default_scope(cfg.get("default_scope", "mmpose"))
    from mmpose.registry import DATASETS  # importable once the configuration has been read

    return DATASETS.build(loader.dataset)


def original(dataset: Any, i: int) -> Person:
    """A person on the whole image, as annotated."""
    info = dataset.get_data_info(i)
    points = info["keypoints"][0].astype(float)
    if dataset.test_mode and hasattr(dataset, "headbox_file"):
        points -= 1  # MPII's are counted from 1 where they are scored
    return Person(
        image=Image.open(info["img_path"]),
        box=info["bbox"][0],
        keypoints=_only_visible(points, info),
        truth=np.zeros((0, 2)),
        caption=_caption(i, info),
    )


def transformed(dataset: Any, i: int) -> Person:
    """A person as the network sees it, augmented in training."""
    results = dataset[i]
    if "transformed_keypoints" not in results:
        raise AusamError("the pipeline has no TopdownAffine, so it makes no picture of one person")
    height, width = results["img"].shape[:2]
    return Person(
        image=Image.fromarray(np.ascontiguousarray(results["img"][..., ::-1])),
        box=(0, 0, width - 1, height - 1),
        keypoints=_only_visible(results["transformed_keypoints"][0].astype(float), results),
        truth=np.zeros((0, 2)),
        caption=_caption(i, results),
    )


def _only_visible(points: np.ndarray, info: dict) -> np.ndarray:
    flags = np.asarray(info["keypoints_visible"], dtype=float)
    seen = flags.reshape(*points.shape[:1], -1)[:, 0] > 0  # some transforms append weights
    return np.where(seen[:, None], points, np.nan)


def _caption(i: int, info: dict) -> str:
    seen = int((np.asarray(info["keypoints_visible"], dtype=float).reshape(-1) > 0).sum())
    return f"#{i}  {Path(info['img_path']).name}  {seen} joints"


def main(argv: list[str] | None = None) -> None:
    """Draw one sheet."""
    args = parse_args(argv)
    if args.count < 1:
        raise AusamError(f"--count must be at least 1, found {args.count}")
    cfg = load_config(args.config, args.cfg_options)
    if cfg.get("default_scope") != "mmpose":
        raise AusamError(
            f"{args.config} has no joints to draw: it does not set default_scope='mmpose'"
        )
    looked_at = Config({f"{args.phase}_dataloader": cfg.get(f"{args.phase}_dataloader")})
    looked_at.custom_imports = cfg.get("custom_imports", {})
    check_task(looked_at)
    require_folder(args.output_dir, "--output-dir")
    dataset = build_dataset(cfg, args.phase, args.mode)
    np.random.seed(0)  # two calls draw the same sheet
    steps = np.linspace(0, len(dataset) - 1, min(args.count, len(dataset)))
    make = original if args.mode == "original" else transformed
    people = [make(dataset, round(step)) for step in steps]
    name = f"{Path(args.config).stem}_{args.phase}_{args.mode}.png"
    title = f"{len(dataset)} persons, {dataset.metainfo['num_keypoints']} joints"
    subtitle = f"{name.removesuffix('.png')}: {len(people)} of them, at even steps of the list"
    out = args.output_dir / name
    draw_grid(people, skeleton_of(dataset.metainfo), title, subtitle).save(out)
    print(out)


if __name__ == "__main__":
    run_tool(main)
