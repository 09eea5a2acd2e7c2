"""MPII joints in the coordinates that pixels have.

Does MMPose 1.x train on 1-based joints and evaluate with one pixel more? It does:

- MPII counts pixels from 1, in the JSON lists as in the `.mat` file; the joints of both agree.
- `MpiiDataset` of MMPose 1.x takes 1 off the person's centre and not off the joints (MMPose 0.x
  and the code of HRNet and SimCC take it off both). A model trained on them answers 1-based pixels.
- `MpiiPCKAccuracy` takes the answers for 0-based, adds 1, and compares with 1-based joints. The
  frame is right: three published sets of 1-based predictions, made 0-based first, get back the
  published scores of every joint. But what `MpiiDataset` calls the truth lands (1, 1) pixel off.

How much is a pixel? The published sets, moved by it, change by 0.1 to 0.2 at PCKh@0.5 and by 4 to
5 at PCKh@0.1 (`tests/tasks/pose/test_mpii.py` holds the figures). They *gain* by moving right and
down, since they lie about 3 pixels left and above of the joints, rounded down when they were
decoded: a bias of their own, and so no argument for either frame of training.

Hence :class:`ZeroBasedMpiiDataset`: the metric stays MMPose's, the training joints become 0-based.
"""

import warnings
from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS
from mmpose.datasets import MpiiDataset

_CONFIGS = Path(__file__).parents[2] / "configs"

# MPII gives centre and scale, as intended; MMPose says so once in every worker of every run.
warnings.filterwarnings("ignore", 'Use the existing "bbox_center" and "bbox_scale"')


@DATASETS.register_module()
class ZeroBasedMpiiDataset(MpiiDataset):
    """`MpiiDataset` whose training joints are 0-based pixels, as its image, boxes and centres are.

    A joint that is no number counts as hidden; a person without a box, or to train on without a
    visible joint, is left out. `MpiiDataset` trains on both. Evaluation (``test_mode=True``) keeps
    the joints 1-based, since that is what `MpiiPCKAccuracy` compares with. Arguments are those of
    `MpiiDataset`.
    """

    # From the repository whatever the working directory is.
    METAINFO = dict(from_file=str(_CONFIGS / "_base_" / "datasets" / "mpii.py"))

    def _load_annotations(self) -> tuple[list[dict], list[dict]]:
        persons, images = super()._load_annotations()
        for person in persons:
            _hide_what_is_no_number(person)
            if not self.test_mode:
                person["keypoints"] -= 1
        return [person for person in persons if self._is_usable(person)], images

    def _is_usable(self, person: dict) -> bool:
        """Whether it has a box and, to train on, a joint; `annotations` says how many have not."""
        has_box = np.isfinite(person["bbox"]).all() and (person["bbox_scale"] > 0).all()
        return bool(has_box and (self.test_mode or person["keypoints_visible"].any()))


def _hide_what_is_no_number(person: dict) -> None:
    """Joints that are not finite become hidden, and flags 0 or 1."""
    finite = np.isfinite(person["keypoints"]).all(axis=-1)
    person["keypoints"][~finite] = 0
    flags = (np.asarray(person["keypoints_visible"], dtype=float) > 0) & finite
    person["keypoints_visible"] = flags.astype(np.int64)
