"""A data set of your own: COCO-keypoint JSON or MPII JSON, any number of joints.

    dataset = dict(type="OwnPoseDataset", data_root="data/own/", ann_file="annotations/train.json",
                   data_prefix=dict(img="images/"))

The names of the joints, their mirror twins and the limbs come from the file (COCO's ``categories``)
or from ``joints`` and ``links``; no file of metainfo has to be written.
"""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from mmpose.datasets.datasets.base import BaseCocoStyleDataset

from ausam_core.errors import AusamError

from .joints import make_metainfo, mpii_names
from .persons import Annotations, Person, read_annotations


def load_own_data(
    path: str, joints: Sequence[str] | None = None, links: Sequence[Sequence[str]] | None = None
) -> tuple[Annotations, dict[str, Any]]:
    """Annotations of a file with the ``metainfo`` that MMPose wants.

    Args:
        path: annotation file of either form.
        joints: names of the joints in the order of the annotations; by default the file's own, and
            for an MPII list with 16 joints those of MPII.
        links: pairs of names; by default the file's own.

    Raises:
        AusamError: the file cannot be read, or the joints have no names.
    """
    annotations = read_annotations(path, len(joints) if joints else None)
    names = list(joints) if joints else annotations.names
    if names is None:
        names = mpii_names()
        count = max(len(person.keypoints) for person in annotations.persons)
        if count != len(names):
            raise AusamError(
                f"{path} has {count} joints and does not name them, and a flipped picture needs to "
                "know left from right: give the data set joints=['left_knee', ...] (COCO files "
                "name them in categories[0].keypoints)"
            )
    pairs = [tuple(link) for link in links] if links is not None else annotations.links
    return annotations, make_metainfo(names, pairs, source=path)


@DATASETS.register_module()
class OwnPoseDataset(BaseCocoStyleDataset):
    """Persons of a COCO-keypoint file or an MPII list, top-down, in pixels from 0.

    Persons without image, box or visible joint are left out; `tasks.pose.check_config` says before
    a run how many. Scores come from MMPose's `PCKAccuracy`, which takes any joints.

    Args:
        ann_file: annotation file, relative to ``data_root``.
        joints, links: see :func:`load_own_data`.
        metainfo: MMPose's own description, instead of joints and links.
        **kwargs: as of MMPose's `BaseCocoStyleDataset`: ``data_root``, ``data_prefix``,
            ``pipeline``, ``test_mode``, ``indices``.

    Raises:
        AusamError: as :func:`load_own_data`.
    """

    def __init__(
        self,
        ann_file: str,
        joints: Sequence[str] | None = None,
        links: Sequence[Sequence[str]] | None = None,
        metainfo: dict | None = None,
        **kwargs: Any,
    ) -> None:
        path = osp.join(kwargs.get("data_root") or "", ann_file)
        if metainfo is None:
            self._annotations, metainfo = load_own_data(path, joints, links)
        else:
            count = self._load_metainfo(metainfo)["num_keypoints"]
            self._annotations = read_annotations(path, count)
        super().__init__(ann_file=ann_file, metainfo=metainfo, **kwargs)

    def _load_annotations(self) -> tuple[list[dict], list[dict]]:
        people = [person for person in self._annotations.persons if person.is_trainable()]
        del self._annotations
        if not people:
            raise AusamError(f"{self.ann_file} holds no person with image, box and visible joint")
        return [self._to_mmpose(person) for person in people], []

    def _to_mmpose(self, person: Person) -> dict:
        width, height = person.box[2:] - person.box[:2]
        return dict(
            id=person.id,
            img_id=person.image_id,
            img_path=osp.join(self.data_prefix["img"] or "", person.image),
            bbox=person.box[None],
            bbox_score=np.ones(1, dtype=np.float32),
            keypoints=person.keypoints[None],
            keypoints_visible=person.visible[None],
            num_keypoints=int(person.visible.sum()),
            area=np.array(
                0.53 * width * height, dtype=np.float32
            ),  # as MMPose where a file has none
            category_id=np.array(1),
            iscrowd=0,
        )
