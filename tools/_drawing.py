"""Draw poses: one on an image (demo) or many in a grid (quickstart, browse_dataset).

    skeleton = skeleton_of(model.dataset_meta)
    draw_pose(Image.open("person.jpg"), keypoints, skeleton).save("pose.png")

Everything is drawn at twice the size and scaled down, which is what makes thin lines smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

# By name, so that a data set with other joints (COCO: no head top, no neck) draws what it has.
# "hips" and "shoulders" are the middles of a pair: MPII's own pelvis and thorax are left out of
# PCKh and unlabelled in many data sets.
LIMBS = (
    ("hips", "shoulders"),
    ("shoulders", "upper_neck"),
    ("upper_neck", "head_top"),
    ("shoulders", "nose"),
    ("hips", "left_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("hips", "right_hip"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
    ("shoulders", "left_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("shoulders", "right_shoulder"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
)
COLOURS = {"left": (255, 146, 43), "right": (51, 154, 240), "trunk": (105, 219, 124)}
OUTLINE = (16, 18, 24)
BACKGROUND = (24, 27, 33)
TEXT = (236, 239, 244)
MUTED = (150, 158, 170)
SCALE = 2


@dataclass(frozen=True)
class Person:
    """One person on an image, with a skeleton.

    Attributes:
        image: The whole image.
        box: x1, y1, x2, y2 of the person in pixels.
        keypoints: Joints to draw, pixels of ``image``, shape (K, 2); NaN where there is none.
        truth: Annotated joints that are visible, pixels, shape (V, 2).
        caption: A few letters for the corner of the tile.
    """

    image: Image.Image
    box: Sequence[float]
    keypoints: np.ndarray
    truth: np.ndarray
    caption: str = ""


@dataclass(frozen=True)
class Skeleton:
    """What the joints of a model are called and which of them are joined.

    Attributes:
        names: K names in the order of the predictions.
        limbs: pairs of names; "hips" and "shoulders" are the middles of their pairs. Without any,
            joints are drawn as dots.
    """

    names: Sequence[str]
    limbs: Sequence[tuple[str, str]]


def skeleton_of(dataset_meta: dict) -> Skeleton:
    """Joints and limbs from MMPose's ``dataset_meta``: a person's as above, others by its links."""
    names = [name for _, name in sorted(dataset_meta["keypoint_id2name"].items())]
    if {"left_hip", "right_hip", "left_shoulder", "right_shoulder"} <= set(names):
        return Skeleton(names, LIMBS)
    links = dataset_meta.get("skeleton_links", [])
    return Skeleton(names, [(names[a], names[b]) for a, b in links])


def _joints(keypoints: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Joints by name, with the middles of pairs; those that are no number are left out."""
    joints = {
        name: np.asarray(point, dtype=float)
        for name, point in zip(names, keypoints, strict=True)
        if np.isfinite(point).all()
    }
    for middle, pair in (("hips", "hip"), ("shoulders", "shoulder")):
        if f"left_{pair}" in joints and f"right_{pair}" in joints:
            joints[middle] = (joints[f"left_{pair}"] + joints[f"right_{pair}"]) / 2
    return joints


def _side(*names: str) -> str:
    for side in ("left", "right"):
        if any(side in name.lower() for name in names):
            return side
    return "trunk"


def _draw_limbs(
    image: Image.Image, keypoints: np.ndarray, skeleton: Skeleton, width: float
) -> None:
    """Draw on ``image`` in place: all outlines first, so that none crosses a limb."""
    draw = ImageDraw.Draw(image)
    joints = _joints(keypoints, skeleton.names)
    limbs = [(a, b) for a, b in skeleton.limbs if a in joints and b in joints]
    dots = {name for limb in limbs for name in limb} if skeleton.limbs else joints
    for extra, colour in ((1.8, OUTLINE), (1.0, None)):
        for a, b in limbs:
            line = [tuple(joints[a]), tuple(joints[b])]
            draw.line(line, fill=colour or COLOURS[_side(a, b)], width=max(1, round(width * extra)))
        for name in dots:
            radius = width * extra * (0.5 if name in ("hips", "shoulders") else 0.85)
            x, y = joints[name]
            draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius),
                fill=colour or COLOURS[_side(name)],
            )


def draw_pose(image: Image.Image, keypoints: np.ndarray, skeleton: Skeleton) -> Image.Image:
    """A copy of the image with one person's skeleton on it.

    Args:
        image: RGB image.
        keypoints: Joints in pixels, shape (K, 2).
        skeleton: Names and limbs; left and right in the names decide the colours.
    """
    size = image.size
    canvas = image.convert("RGB").resize(
        (size[0] * SCALE, size[1] * SCALE), Image.Resampling.BICUBIC
    )
    # A pixel's centre lies half a pixel off its corner, and there are SCALE of them for one.
    points = (np.asarray(keypoints, dtype=float) + 0.5) * SCALE
    _draw_limbs(canvas, points, skeleton, width=max(2.0, max(canvas.size) / 150))
    return canvas.resize(size, Image.Resampling.LANCZOS)


def _crop(person: Person, side: int, margin: float) -> tuple[Image.Image, np.ndarray, float]:
    """Cut a square around the person: picture, its corner, tile pixels for an image pixel."""
    x1, y1, x2, y2 = (float(v) for v in person.box)
    length = max(x2 - x1, y2 - y1) * margin
    corner = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - length / 2
    left, top = (int(v) for v in np.floor(corner))
    span = max(1, int(np.ceil(length)))
    image = person.image.convert("RGB")
    # What lies outside the image is filled with a dark blur of it, calmer to look at than bars.
    square = image.resize((span, span)).filter(ImageFilter.GaussianBlur(span / 16))
    square = ImageEnhance.Brightness(square).enhance(0.35)
    square.paste(image, (-left, -top))
    return square.resize((side, side), Image.Resampling.BICUBIC), np.array([left, top]), side / span


def draw_tile(
    person: Person, skeleton: Skeleton, side: int = 224, margin: float = 1.1
) -> Image.Image:
    """A square picture of one person: the image, faint dots of truth, the predicted skeleton."""
    big = side * SCALE
    tile, corner, factor = _crop(person, big, margin)
    if len(person.truth):
        dots = Image.new("RGBA", tile.size)
        draw = ImageDraw.Draw(dots)
        for x, y in (np.asarray(person.truth) + 0.5 - corner) * factor:
            draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=(255, 255, 255, 150))
        tile.paste(dots, mask=dots)
    points = (np.asarray(person.keypoints) + 0.5 - corner) * factor
    _draw_limbs(tile, points, skeleton, width=big / 85)
    tile = tile.resize((side, side), Image.Resampling.LANCZOS)
    if person.caption:
        font = ImageFont.load_default(13)
        draw = ImageDraw.Draw(tile)
        width = draw.textlength(person.caption, font=font)
        draw.rounded_rectangle((6, side - 25, 16 + width, side - 6), radius=5, fill=OUTLINE)
        draw.text((11, side - 16), person.caption, font=font, fill=TEXT, anchor="lm")
    return tile


def draw_grid(
    people: Sequence[Person], skeleton: Skeleton, title: str, subtitle: str, columns: int = 6
) -> Image.Image:
    """Many people under a strip with the title, a second line and a legend of the colours."""
    side, gap, strip = 224, 6, 84
    rows = -(-len(people) // columns)
    width = columns * (side + gap) + gap
    picture = Image.new("RGB", (width, strip + rows * (side + gap)), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((16, 30), title, font=ImageFont.load_default(26), fill=TEXT, anchor="lm")
    draw.text((16, 61), subtitle, font=ImageFont.load_default(15), fill=MUTED, anchor="lm")
    _draw_legend(draw, width - 16, 61)
    for index, person in enumerate(people):
        row, column = divmod(index, columns)
        place = (gap + column * (side + gap), strip + row * (side + gap))
        picture.paste(draw_tile(person, skeleton, side), place)
    return picture


def _draw_legend(draw: ImageDraw.ImageDraw, right: float, y: float) -> None:
    """Colours and their meaning, from the right end of the strip to the left."""
    font = ImageFont.load_default(15)
    entries = [("annotated", (200, 200, 200)), *reversed(COLOURS.items())]
    for label, colour in entries:
        right -= draw.textlength(label, font=font)
        draw.text((right, y), label, font=font, fill=MUTED, anchor="lm")
        draw.ellipse((right - 18, y - 5, right - 8, y + 5), fill=colour)
        right -= 34
