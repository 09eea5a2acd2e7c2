"""MPII Human Pose: names, colours and links of the 16 joints, in the form that MMPose reads."""

_ORANGE, _GREEN, _BLUE = [255, 128, 0], [0, 255, 0], [51, 153, 255]

# name, part of the body, weight, sigma (COCO's, for metrics that are not PCKh)
_joints = [
    ("right_ankle", "lower", 1.5, 0.089),
    ("right_knee", "lower", 1.2, 0.083),
    ("right_hip", "lower", 1.0, 0.107),
    ("left_hip", "lower", 1.0, 0.107),
    ("left_knee", "lower", 1.2, 0.083),
    ("left_ankle", "lower", 1.5, 0.089),
    ("pelvis", "lower", 1.0, 0.026),
    ("thorax", "upper", 1.0, 0.026),
    ("upper_neck", "upper", 1.0, 0.026),
    ("head_top", "upper", 1.0, 0.026),
    ("right_wrist", "upper", 1.5, 0.062),
    ("right_elbow", "upper", 1.2, 0.072),
    ("right_shoulder", "upper", 1.0, 0.179),
    ("left_shoulder", "upper", 1.0, 0.179),
    ("left_elbow", "upper", 1.2, 0.072),
    ("left_wrist", "upper", 1.5, 0.062),
]
_links = [
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("right_hip", "pelvis"),
    ("pelvis", "left_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("pelvis", "thorax"),
    ("thorax", "upper_neck"),
    ("upper_neck", "head_top"),
    ("upper_neck", "right_shoulder"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("upper_neck", "left_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
]
_swap = {"right": "left", "left": "right"}
_color = {"right": _ORANGE, "left": _GREEN}


def _side(name):
    return name.partition("_")[0]


def _mirror(name):
    side, _, rest = name.partition("_")
    return f"{_swap[side]}_{rest}" if side in _swap else ""


dataset_info = dict(
    dataset_name="mpii",
    paper_info=dict(
        author="Mykhaylo Andriluka and Leonid Pishchulin and Peter Gehler and Bernt Schiele",
        title="2D Human Pose Estimation: New Benchmark and State of the Art Analysis",
        container="IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
        year="2014",
        homepage="http://human-pose.mpi-inf.mpg.de/",
    ),
    keypoint_info={
        i: dict(
            name=name, id=i, color=_color.get(_side(name), _BLUE), type=part, swap=_mirror(name)
        )
        for i, (name, part, _, _) in enumerate(_joints)
    },
    skeleton_info={
        i: dict(
            link=link, id=i, color=_color.get(_side(link[0]), _color.get(_side(link[1]), _BLUE))
        )
        for i, link in enumerate(_links)
    },
    joint_weights=[weight for _, _, weight, _ in _joints],
    sigmas=[sigma for _, _, _, sigma in _joints],
)
