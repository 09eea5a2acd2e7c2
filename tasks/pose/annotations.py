"""One look at all annotations before a run: what is wrong, how often, and what follows.

for finding in examine(read_annotations("train.json"), sizes={}):
    print(finding.sentence())
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from . import persons as p
from .persons import Annotations, Person

OUTSIDE = "joint outside the image"

# fault: what is said of the persons that have it, and what happens to them in our own data sets
_SAYS = {
    p.INCOMPLETE: ("lack what a person needs", ""),
    p.WRONG_COUNT: ("have another number of joints", ""),
    p.NO_IMAGE: ("belong to no image of the file", ""),
    p.NOT_FINITE: ("have a visible joint that is no number", "such a joint counts as hidden"),
    OUTSIDE: (
        "have a visible joint outside the image",
        "it is trained where the crop reaches it, and weighs nothing elsewhere",
    ),
    p.NO_BOX: ("have no box (scale or bbox is zero, negative or no number)", "they are left out"),
    p.ALL_HIDDEN: ("have no visible joint", "they are left out of training"),
    p.CROWD: ("are crowds", "they are left out"),
    p.UNLABELLED: ("have no keypoints", "they are left out"),
}
# What the data sets that MMPose brings do with some of them: nothing.
_IN_MMPOSE = {
    p.NOT_FINITE: "the loss becomes NaN with it; ZeroBasedMpiiDataset hides it",
    p.ALL_HIDDEN: "each costs a place in a batch; ZeroBasedMpiiDataset leaves them out of training",
}
# Part of how these files are made, and no mistake.
_USUAL = (p.CROWD, p.UNLABELLED)


@dataclass(frozen=True)
class Finding:
    """One kind of fault in a file.

    Attributes:
        fault: a name of `persons`, or `OUTSIDE`.
        count, total: how many persons have it, of how many that were looked at.
        first: the first of them, with the detail.
        consequence: what happens to them.
    """

    fault: str
    count: int
    total: int
    first: str
    consequence: str

    @property
    def is_fatal(self) -> bool:
        """Whether no training can go on with it."""
        return self.fault in p.FATAL

    @property
    def is_usual(self) -> bool:
        """Whether it is no mistake and needs no mention."""
        return self.fault in _USUAL

    def sentence(self) -> str:
        """All of it, without a full stop."""
        text = f"{self.count} of {self.total} persons {_SAYS[self.fault][0]} (first: {self.first})"
        return f"{text}; {self.consequence}" if self.consequence else text


def examine(
    annotations: Annotations, sizes: Mapping[str, tuple[int, int]], cleans: bool = True
) -> list[Finding]:
    """Everything that is wrong with the persons of a file, fatal kinds first.

    Args:
        annotations: what :func:`~tasks.pose.persons.read_annotations` found.
        sizes: width and height of images by name, for those whose size the file does not give; a
            person whose image is in neither is not looked at for joints outside.
        cleans: whether the data set is one of ours, which pass over faulty persons.
    """
    seen: dict[str, list[str]] = {}
    for person in annotations.persons:
        faults = dict(person.faults)
        if not any(fault in faults for fault in p.LEFT_OUT):
            faults.update(_outside(person, person.size or sizes.get(person.image)))
        for fault, detail in faults.items():
            seen.setdefault(fault, []).append(f"{person.where}: {detail}")
    total = len(annotations.persons)
    return [
        Finding(fault, len(seen[fault]), total, seen[fault][0], _consequence(fault, cleans))
        for fault in _SAYS
        if fault in seen
    ]


def _consequence(fault: str, cleans: bool) -> str:
    return _SAYS[fault][1] if cleans else _IN_MMPOSE.get(fault, _SAYS[fault][1])


def _outside(person: Person, size: tuple[int, int] | None) -> Iterator[tuple[str, str]]:
    """A pixel more on each side: annotators and forms differ in where a pixel begins."""
    if size is None:
        return
    out = ((person.keypoints < -1) | (person.keypoints > size)).any(axis=1) & (person.visible > 0)
    if out.any():
        k = int(np.argmax(out))
        x, y = person.keypoints[k]
        yield OUTSIDE, f"joint {k} at ({x:.0f}, {y:.0f}), image of {size[0]} x {size[1]}"
