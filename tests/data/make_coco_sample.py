"""Write the Leeds sample of `tests/data/pose` in COCO-keypoint form: an example of one's own data.

usage: make_coco_sample.py OUT [14 | 17]

OUT gets `images/` and `annotations/{train,val}.json`. With 14 joints (the default) they are those
of Leeds; with 17 they are COCO's, of which the five of the face are not annotated.
"""

import json
import shutil
import sys
from pathlib import Path

from PIL import Image

SOURCE = Path(__file__).parent / "pose" / "lspet"
MPII = (
    "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck "
    "head_top right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist"
).split()
FACE = ["nose", "left_eye", "right_eye", "left_ear", "right_ear"]
LIMBS = ["shoulder", "elbow", "wrist", "hip", "knee", "ankle"]
NAMES = {
    14: [name for name in MPII if name not in ("pelvis", "thorax")],
    17: FACE + [f"{side}_{limb}" for limb in LIMBS for side in ("left", "right")],
}
LINKS = [
    ("ankle", "knee"),
    ("knee", "hip"),
    ("hip", "shoulder"),
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
]


def category(joints: int) -> dict:
    """Names and limbs; COCO counts the joints of a limb from 1."""
    names = NAMES[joints]
    links = [(f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in LINKS]
    links += [("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")]
    links += [("head_top", "upper_neck")] if joints == 14 else []
    skeleton = [[names.index(a) + 1, names.index(b) + 1] for a, b in links]
    return dict(id=1, name="person", keypoints=names, skeleton=skeleton)


def keypoints(person: dict, names: list[str]) -> list[float]:
    """x, y, v of each joint; MPII counts pixels from 1, COCO from 0; v is 0 where there is none."""
    values: list[float] = []
    for name in names:
        k = MPII.index(name) if name in MPII else None
        if k is None or not person["joints_vis"][k]:
            values += [0, 0, 0]
        else:
            values += [
                round(person["joints"][k][0] - 1, 1),
                round(person["joints"][k][1] - 1, 1),
                2,
            ]
    return values


def to_coco(persons: list[dict], joints: int) -> dict:
    """A COCO-keypoint file of a list in MPII's form, one image a person."""
    images, annotations = [], []
    for i, person in enumerate(persons):
        width, height = Image.open(SOURCE / "images" / person["image"]).size
        images.append(dict(id=i, file_name=person["image"], width=width, height=height))
        side = 200 * person["scale"]
        x, y = person["center"][0] - 1, person["center"][1] + 15 * person["scale"] - 1
        values = keypoints(person, NAMES[joints])
        annotations.append(
            dict(
                id=i,
                image_id=i,
                category_id=1,
                iscrowd=0,
                bbox=[
                    round(x - side / 2, 1),
                    round(y - side / 2, 1),
                    round(side, 1),
                    round(side, 1),
                ],
                area=round(side * side, 1),
                keypoints=values,
                num_keypoints=sum(v > 0 for v in values[2::3]),
            )
        )
    return dict(images=images, annotations=annotations, categories=[category(joints)])


def main(out: Path, joints: int = 14) -> None:
    """Write both splits and copy their images."""
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    (out / "images").mkdir(exist_ok=True)
    for split in ("train", "val"):
        persons = json.loads((SOURCE / f"annotations/lspet_{split}.json").read_text())
        text = json.dumps(to_coco(persons, joints), separators=(",", ":"))
        path = out / f"annotations/{split}.json"
        if path.exists() and path.read_text() != text:
            sys.exit(f"error: {path} is there and is another; name another folder")
        path.write_text(text)
        for person in persons:
            shutil.copyfile(SOURCE / "images" / person["image"], out / "images" / person["image"])
    print(f"{out}: images and annotations/train.json, annotations/val.json with {joints} joints")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and sys.argv[2] not in ("14", "17")):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
