"""Read annotations of persons: COCO-keypoint JSON and MPII JSON, with any number of joints.

Both forms become one list of :class:`Person` in pixels from 0. What an entry lacks or has wrong is
not repaired here but named in its ``faults``: `annotations` counts them, the data sets pass them
over.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ausam_core.errors import AusamError

# Faults that no training can go on with.
INCOMPLETE = "incomplete"  # a key is missing or holds something else
WRONG_COUNT = "wrong number of joints"
NO_IMAGE = "image unknown"
# Faults that are passed over.
NOT_FINITE = "joint not finite"
NO_BOX = "no box"
ALL_HIDDEN = "all hidden"
CROWD = "crowd"
UNLABELLED = "unlabelled"

FATAL = (INCOMPLETE, WRONG_COUNT, NO_IMAGE)
LEFT_OUT = (*FATAL, NO_BOX, ALL_HIDDEN, CROWD, UNLABELLED)


@dataclass
class Person:
    """One annotated person.

    Attributes:
        where: how a message calls it: its number and image.
        image: file name, relative to the folder of images.
        image_id, id: numbers in the file, or places in the list.
        box: x1, y1, x2, y2 in pixels from 0, without padding.
        keypoints: (K, 2) float32 in pixels from 0; a joint that is not finite is 0 and hidden.
        visible: (K,) float32, 1 where the joint is annotated.
        size: width and height of the image, where the file gives them.
        faults: what is wrong with it, and the detail of it.
    """

    where: str
    image: str = ""
    image_id: int = 0
    id: int = 0
    box: np.ndarray = field(default_factory=lambda: np.zeros(4, np.float32))
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    visible: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    size: tuple[int, int] | None = None
    faults: dict[str, str] = field(default_factory=dict)

    def is_trainable(self) -> bool:
        """Whether it has an image, a box and a joint."""
        return not any(fault in self.faults for fault in LEFT_OUT)


@dataclass
class Annotations:
    """What an annotation file holds.

    Attributes:
        persons: all entries, faulty ones too.
        names: the K joints as the file names them; None where it does not (MPII lists).
        links: pairs of names.
    """

    persons: list[Person]
    names: list[str] | None = None
    links: list[tuple[str, str]] = field(default_factory=list)


def read_annotations(path: str | Path, joints: int | None = None) -> Annotations:
    """Read a file of either form; which one it is, is seen from its content.

    Args:
        path: a JSON file: a list of persons (MPII) or an object with ``annotations`` (COCO).
        joints: K; by default as the file names them, or as most entries of it have.

    Raises:
        AusamError: the file is not there, no JSON, of neither form, or holds no person.
    """
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise AusamError(f"Annotation file {path} is not there") from None
    except (OSError, ValueError) as error:
        raise AusamError(f"Annotation file {path} is no whole JSON file ({error})") from error
    if isinstance(content, list):
        entries, read = content, _read_mpii
    elif isinstance(content, Mapping) and isinstance(content.get("annotations"), list):
        entries, read = content["annotations"], _read_coco
    else:
        raise AusamError(
            f"Annotation file {path} is no list of persons (MPII) and has no list `annotations` "
            "(COCO)"
        )
    if not entries:
        raise AusamError(f"Annotation file {path} is empty: it holds no person")
    return read(content, joints)


def _read_mpii(entries: list[Any], joints: int | None) -> Annotations:
    """MPII counts pixels from 1; `scale` is the height of the person in units of 200 pixels."""
    if joints is None:
        joints = _usual([len(e["joints"]) for e in entries if _has(e, "joints")])
    persons = []
    for i, entry in enumerate(entries):
        person = Person(where=f"person {i}", image_id=i, id=i)
        persons.append(person)
        missing = [
            k for k in ("image", "center", "scale", "joints", "joints_vis") if not _has(entry, k)
        ]
        if missing:
            person.faults[INCOMPLETE] = f"no {', no '.join(missing)}"
            continue
        person.image = str(entry["image"])
        person.where += f", image {person.image}"
        points = _array(entry["joints"], person, "joints")
        seen = _array(entry["joints_vis"], person, "joints_vis")
        place = [*_flat(entry["center"]), *_flat(entry["scale"])]
        place = _array(place, person, "center and scale")
        if INCOMPLETE in person.faults:
            continue
        if points.size != 2 * joints or seen.size != joints:
            found = f"{points.size / 2:g} joints and {seen.size} flags of visibility"
            person.faults[WRONG_COUNT] = f"{found} instead of {joints}"
        else:
            _set_joints(person, points.reshape(-1, 2) - 1, seen.ravel())
        _set_mpii_box(person, place)
    return Annotations(persons)


def _set_mpii_box(person: Person, place: np.ndarray) -> None:
    if place.size != 3:
        person.faults[INCOMPLETE] = "center and scale are no three numbers"
        return
    x, y, scale = place.tolist()
    if x != -1:
        y += 15 * scale  # as MMPose and its forebears do, so that feet are not cut
    half = 100 * scale
    _set_box(
        person, np.array([x - 1 - half, y - 1 - half, x - 1 + half, y - 1 + half]), f"scale {scale}"
    )


def _read_coco(content: Mapping[str, Any], joints: int | None) -> Annotations:
    """COCO counts pixels from 0; a joint is annotated where its third number is above 0."""
    categories = [c for c in content.get("categories") or [] if _has(c, "keypoints")]
    names = [str(name) for name in categories[0]["keypoints"]] if categories else None
    skeleton = (categories[0].get("skeleton") or []) if categories else []
    links = [
        (names[a - 1], names[b - 1])
        for a, b in skeleton
        if 0 < min(a, b) and max(a, b) <= len(names)
    ]
    entries = content["annotations"]
    if joints is None:
        labelled = [len(e["keypoints"]) // 3 for e in entries if _has(e, "keypoints")]
        joints = len(names) if names else _usual(labelled)
    images = {image["id"]: image for image in content.get("images") or [] if _has(image, "id")}
    return Annotations(
        [_coco_person(i, e, images, joints) for i, e in enumerate(entries)], names, links
    )


def _coco_person(i: int, entry: Any, images: Mapping[Any, Any], joints: int) -> Person:
    person = Person(where=f"annotation {i}")
    if not _has(entry, "image_id"):
        person.faults[INCOMPLETE] = "no image_id"
        return person
    person.id, person.image_id = entry.get("id", i), entry["image_id"]
    image = images.get(entry["image_id"])
    if not _has(image, "file_name"):
        person.faults[NO_IMAGE] = f"image_id {entry['image_id']} is not among its images"
        return person
    person.image = str(image["file_name"])
    person.where += f", image {person.image}"
    if _has(image, "width") and _has(image, "height"):
        person.size = (image["width"], image["height"])
    if entry.get("iscrowd"):
        person.faults[CROWD] = "iscrowd"
    elif not _has(entry, "keypoints"):
        person.faults[UNLABELLED] = "no keypoints"
    else:
        values = _array(entry["keypoints"], person, "keypoints")
        if values.size != 3 * joints:
            person.faults[WRONG_COUNT] = f"{values.size / 3:g} joints instead of {joints}"
        else:
            triples = values.reshape(-1, 3)
            _set_joints(person, triples[:, :2], triples[:, 2])
        _set_coco_box(person, entry)
    return person


def _set_coco_box(person: Person, entry: Mapping[str, Any]) -> None:
    box = _array(entry.get("bbox") or [], person, "bbox")
    if box.size != 4:
        person.faults.setdefault(NO_BOX, "no bbox")
        return
    x, y, width, height = box.tolist()
    _set_box(person, np.array([x, y, x + width, y + height]), f"bbox {box.tolist()}")


def _set_box(person: Person, box: np.ndarray, what: str) -> None:
    if not (np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1]):
        person.faults[NO_BOX] = what
        return
    person.box = box.astype(np.float32)


def _set_joints(person: Person, points: np.ndarray, visible: np.ndarray) -> None:
    seen = visible > 0  # NaN is not
    finite = np.isfinite(points).all(axis=1)
    if (seen & ~finite).any():
        person.faults[NOT_FINITE] = f"joint {int(np.argmax(seen & ~finite))}"
    seen &= finite
    if not seen.any():
        person.faults[ALL_HIDDEN] = "no joint is visible"
    person.keypoints = np.where(finite[:, None], points, 0).astype(np.float32)
    person.visible = seen.astype(np.float32)


def _has(entry: Any, key: str) -> bool:
    return isinstance(entry, Mapping) and entry.get(key) is not None


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _array(value: Any, person: Person, key: str) -> np.ndarray:
    """Numbers of a JSON value; ``null`` is NaN, anything else is a fault."""
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        person.faults[INCOMPLETE] = f"{key} holds something else than numbers"
        return np.zeros(0)


def _usual(counts: list[int]) -> int:
    return max(set(counts), key=counts.count) if counts else 0
