"""Left and right are told by the names that people give."""

import pytest

from ausam_core.errors import AusamError
from tasks.pose.joints import make_metainfo, mpii_names, twin_of


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_knee", "right_knee"),
        ("knee_left", "knee_right"),
        ("LeftKnee", "RightKnee"),
        ("kneeLeft", "kneeRight"),
        ("l_knee", "r_knee"),
        ("L-Knee", "R-Knee"),
        ("knee.L", "knee.R"),
        ("LKnee", "RKnee"),
        ("LEFT_KNEE", "RIGHT_KNEE"),
    ],
)
def test_twins_are_found_in_both_directions(left, right):
    names = ["nose", left, right, "lip", "rear", "tail"]
    assert twin_of(left, names) == right and twin_of(right, names) == left
    assert all(twin_of(name, names) == name for name in ("nose", "lip", "rear", "tail"))


def test_a_side_without_its_twin_is_refused_by_name():
    with pytest.raises(AusamError, match="'left_ear' has no twin.*nose"):
        make_metainfo(["nose", "left_ear"])


def test_mmpose_reads_the_description():
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    names = ["nose", "left_ear", "right_ear"]
    meta = parse_pose_metainfo(make_metainfo(names, [("nose", "left_ear"), ("nose", "right_ear")]))
    assert meta["flip_indices"] == [0, 2, 1]
    assert meta["skeleton_links"] == [(0, 1), (0, 2)]
    colours = [tuple(colour) for colour in meta["keypoint_colors"].tolist()]
    assert len(set(colours)) == 3
    assert [tuple(c) for c in meta["skeleton_link_colors"].tolist()] == colours[1:]


def test_the_names_of_mpii_give_the_twins_that_mmpose_has():
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    from tasks.pose import ZeroBasedMpiiDataset

    ours = parse_pose_metainfo(make_metainfo(mpii_names()))
    assert ours["flip_indices"] == ZeroBasedMpiiDataset(lazy_init=True).metainfo["flip_indices"]


def test_names_twice_and_links_to_nowhere_are_refused():
    with pytest.raises(AusamError, match="'nose' is named twice"):
        make_metainfo(["nose", "nose"])
    with pytest.raises(AusamError, match="ends at 'tail'"):
        make_metainfo(["nose", "chin"], [("nose", "tail")])
