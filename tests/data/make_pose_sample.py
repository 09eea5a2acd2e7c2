"""Make the small pose sample of `tests/data/pose` from larger folders of the same form.

usage: make_pose_sample.py SOURCE OUT

SOURCE holds `lspet/` and `mpii/`, each with `images/` and `annotations/`; the annotations are in
the form of the MPII lists (`image`, `center`, `scale`, `joints`, `joints_vis`) and `.mat` files.

Leeds Sports Pose Extended: every image is cropped around its person, with a margin in which a
rotated and scaled training crop still finds pixels, and shrunk to what the small config looks at.
The first 1,500 and 150 persons; and beside these lists those who are upright, trunk and head less
than 45 degrees from the vertical, among the 1,500 and among all that were not trained on.
MPII: the five images keep their bytes. Of three published sets of predictions for the MPII
validation split the script keeps what an evaluator needs. Nothing is drawn at random: same source,
same bytes.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat, savemat

N_TRAIN, N_VAL = 1500, 150
UPRIGHT = np.cos(np.radians(45))
HIPS, SHOULDERS, HEAD_TOP = [2, 3], [12, 13], 9
PERSON = 92.0  # pixels of the box (`scale` x 200) after shrinking
MARGIN = 1.5  # crop / box; 1.25 is the padding of the reader, the rest is for rotation and scale
QUALITY = 76
HEAD_BOX, MISSING, POSITION = "headboxes_src", "jnt_missing", "pos_gt_src"


def crop_box(person: dict, size: tuple[int, int]) -> tuple[float, float, float, int, int]:
    """Where to cut: left, top, shrink factor, width and height of the result in pixels.

    The factor is the same in x and y, so the box ends where whole pixels of the result end.
    """
    side = person["scale"] * 200
    shrink = min(1.0, PERSON / side)
    x, y = person["center"][0] - 0.5, person["center"][1] + 15 * person["scale"] - 0.5
    half = MARGIN * side / 2
    left, top = max(0.0, np.floor(x - half)), max(0.0, np.floor(y - half))
    right, bottom = min(size[0], np.ceil(x + half)), min(size[1], np.ceil(y + half))
    return left, top, shrink, int((right - left) * shrink), int((bottom - top) * shrink)


def move(points: np.ndarray, left: float, top: float, shrink: float) -> np.ndarray:
    """Points (..., 2), 1-based (pixel 1 spans 0.5..1.5), from source to cropped image."""
    return (points - 0.5 - [left, top]) * shrink + 0.5


def is_upright(person: dict) -> bool:
    """Whether trunk and head point up; no, where a hip, a shoulder or the head is hidden."""
    joints = np.array(person["joints"])
    if not all(person["joints_vis"][j] for j in (*HIPS, *SHOULDERS, HEAD_TOP)):
        return False
    hip = joints[HIPS].mean(0)
    trunk, head = joints[SHOULDERS].mean(0) - hip, joints[HEAD_TOP] - hip
    return all(-v[1] > UPRIGHT * np.linalg.norm(v) for v in (trunk, head))


def convert(source: Path, out: Path, split: str, name: str, chosen: list[int]) -> None:
    """Write some persons of one split, in the order of the source, as the list `lspet_NAME`."""
    persons = json.loads((source / f"annotations/lspet_{split}.json").read_text())
    persons = [persons[i] for i in chosen]
    truth = loadmat(source / f"annotations/lspet_gt_{split}.mat")
    boxes = truth[HEAD_BOX].transpose(2, 0, 1)[chosen].astype(float)
    for person, box in zip(persons, boxes, strict=True):
        image = Image.open(source / "images" / person["image"]).convert("RGB")
        left, top, shrink, width, height = crop_box(person, image.size)
        area = (left, top, left + width / shrink, top + height / shrink)
        image = image.resize((width, height), Image.Resampling.LANCZOS, box=area)
        image.save(out / "images" / person["image"], quality=QUALITY, optimize=True)

        joints = np.array(person["joints"])
        seen = np.array(person["joints_vis"]) > 0
        joints[seen] = move(joints[seen], left, top, shrink).round(1)
        center = np.array(person["center"]) + [0, 15 * person["scale"]]
        person["scale"] = round(person["scale"] * shrink, 5)
        center = move(center, left, top, shrink) - [0, 15 * person["scale"]]
        person["joints"], person["center"] = joints.tolist(), center.round(1).tolist()
        box[:] = move(box, left, top, shrink)

    with open(out / f"annotations/lspet_{name}.json", "w") as file:
        json.dump(persons, file, separators=(",", ":"))
    if split == "train":  # head boxes are for scoring only
        return
    truth = {
        "dataset_joints": truth["dataset_joints"],
        MISSING: truth[MISSING][:, chosen],
        POSITION: np.array([p["joints"] for p in persons]).transpose(1, 2, 0),
        HEAD_BOX: boxes.round(3).transpose(1, 2, 0),
    }
    savemat(out / f"annotations/lspet_gt_{name}.mat", truth, do_compression=True)


def copy_mpii(source: Path, out: Path) -> None:
    """The five images as they are, their annotations, and ground truth for just these five."""
    persons = json.loads((source / "annotations/mpii_sample.json").read_text())
    every = json.loads((source / "annotations/mpii_val.json").read_text())
    truth = loadmat(source / "annotations/mpii_gt_val.mat")
    rows = [every.index(_same_person(person, every)) for person in persons]
    for person in persons:
        shutil.copyfile(source / "images" / person["image"], out / "images" / person["image"])
    (out / "annotations/mpii_sample.json").write_text(json.dumps(persons, separators=(",", ":")))
    kept = {key: truth[key][..., rows] for key in (MISSING, POSITION, HEAD_BOX)}
    kept["dataset_joints"] = truth["dataset_joints"]
    savemat(out / "annotations/mpii_gt_sample.mat", kept, do_compression=True)


def _same_person(person: dict, every: list[dict]) -> dict:
    return next(
        p
        for p in every
        if p["image"] == person["image"] and np.allclose(p["joints"], person["joints"])
    )


def pack_predictions(source: Path, out: Path) -> None:
    """Predictions, joints and head sizes of all 2,958 persons, in a small file.

    Joints are in 1/16 pixel. Predictions are whole pixels as published, stored as their difference
    from the joint (rounded to whole pixels), which compresses better.
    """
    truth = loadmat(source / "annotations/mpii_gt_val.mat")
    corners = truth[HEAD_BOX].transpose(2, 0, 1)
    arrays = {
        "joints_x16": (truth[POSITION].transpose(2, 0, 1) * 16).round().astype(np.int16),
        "missing": truth[MISSING].T.astype(np.uint8),
        "head_sizes": (0.6 * np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)).astype(
            np.float32
        ),
    }
    with np.load(source / "annotations/mpii_val_reference_preds.npz") as predictions:
        joints = (arrays["joints_x16"] / 16).round()
        arrays |= {name: (points - joints).astype(np.int16) for name, points in predictions.items()}
    np.savez_compressed(out / "annotations/mpii_val_reference.npz", **arrays)


def main(source: Path, out: Path) -> None:
    for name in ("lspet", "mpii"):
        for folder in ("images", "annotations"):
            (out / name / folder).mkdir(parents=True, exist_ok=True)
    for split, count in (("train", N_TRAIN), ("val", N_VAL)):
        persons = json.loads((source / f"lspet/annotations/lspet_{split}.json").read_text())
        looked_at = persons[:count] if split == "train" else persons
        upright = [i for i, person in enumerate(looked_at) if is_upright(person)]
        for name, chosen in ((split, list(range(count))), (f"upright_{split}", upright)):
            convert(source / "lspet", out / "lspet", split, name, chosen)
    copy_mpii(source / "mpii", out / "mpii")
    pack_predictions(source / "mpii", out / "mpii")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
