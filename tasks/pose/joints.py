"""From the names of joints to what MMPose wants to know of them: mirror twins, links, colours."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ausam_core.errors import AusamError

_MPII = Path(__file__).parents[2] / "configs" / "_base_" / "datasets" / "mpii.py"
_ORANGE, _GREEN, _BLUE = [255, 128, 0], [0, 255, 0], [51, 153, 255]  # right, left, neither
_SIDES = [("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), ("l", "r"), ("L", "R")]


def mpii_names() -> list[str]:
    """The 16 names of MPII, in the order of its lists."""
    info = Config.fromfile(_MPII).dataset_info.keypoint_info
    return [info[i]["name"] for i in sorted(info)]


def twin_of(name: str, names: Sequence[str]) -> str:
    """The joint on the other side of the body, or the joint itself where it has none.

    Understands ``left_knee``, ``kneeLeft``, ``l_knee``, ``knee.L`` and ``LKnee``.

    Raises:
        AusamError: the name says left or right and the other side is missing.
    """
    for candidate in _mirrored(name):
        if candidate in names:
            return candidate
    if re.search("left|right", name, re.IGNORECASE):
        raise AusamError(
            f"joint {name!r} has no twin on the other side among {', '.join(names)}; a flipped "
            "picture needs both, so name it without left and right or add the other"
        )
    return name


def _mirrored(name: str) -> Iterator[str]:
    for left, right in _SIDES:
        for this, other in ((left, right), (right, left)):
            if len(this) > 1:
                yield from _replaced(name, this, other)
            else:  # one letter is a side only as a word of its own or before a capital
                yield from _replaced(name, rf"(?<![A-Za-z]){this}(?![A-Za-z])", other)
                yield from _replaced(name, rf"^{this}(?=[A-Z])", other)


def _replaced(name: str, pattern: str, other: str) -> Iterator[str]:
    changed = re.sub(pattern, other, name, count=1)
    if changed != name:
        yield changed


def _colour(name: str, twin: str) -> list[int]:
    if twin == name:
        return _BLUE
    return _ORANGE if re.search(r"right|(?<![a-z])r(?![a-z])|^R[A-Z]", name, re.I) else _GREEN


def make_metainfo(
    names: Sequence[str], links: Sequence[tuple[str, str]] = (), source: str = "own data"
) -> dict[str, Any]:
    """MMPose's ``metainfo`` of a data set with these joints.

    Args:
        names: K names, each once, in the order of the annotations.
        links: pairs of names between which a limb is drawn.
        source: what it is called in messages.

    Raises:
        AusamError: a name occurs twice, a twin is missing, or a link ends at no joint.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise AusamError(
            f"{source}: the joint {twice[0]!r} is named twice; each needs its own name"
        )
    twins = {name: twin_of(name, names) for name in names}
    for link in links:
        for name in link:
            if name not in twins:
                raise AusamError(
                    f"{source}: the link {tuple(link)} ends at {name!r}, which is none of the "
                    f"joints {', '.join(names)}"
                )
    colours = {name: _colour(name, twins[name]) for name in names}
    return dict(
        dataset_name=source,
        keypoint_info={
            i: dict(
                name=name,
                id=i,
                color=colours[name],
                type="",
                swap="" if twins[name] == name else twins[name],
            )
            for i, name in enumerate(names)
        },
        skeleton_info={
            i: dict(link=(a, b), id=i, color=colours[b] if colours[a] == _BLUE else colours[a])
            for i, (a, b) in enumerate(links)
        },
        joint_weights=[1.0] * len(names),
        sigmas=[0.05] * len(names),  # for OKS alone, which nothing here computes
    )
