"""Stand-ins go where a library does not import, say what is missing, and step aside otherwise."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]

# The real libraries, as far as MMPose imports them.
REAL = {
    "mmcv_part/ops.py": "class MultiScaleDeformableAttention: real = True",
    "mmdet/__init__.py": "",
    "mmdet/utils.py": "ConfigType = dict\ndef reduce_mean(x): return 'real'",
    "xtcocotools/__init__.py": "",
    "xtcocotools/coco.py": "class COCO: real = True",
    "xtcocotools/cocoeval.py": "class COCOeval: real = True",
    "xtcocotools/mask.py": "real = True",
}
# The ways in which they fail to import in practice.
BROKEN = {
    "mmcv_part/ops.py": "raise ImportError('undefined symbol')",
    "mmdet/__init__.py": "assert False, 'MMCV is used but incompatible'",
    "xtcocotools/__init__.py": "",
    "xtcocotools/coco.py": "raise ValueError('numpy.dtype size changed')",
}
IMPORTS = """
import sys, mmcv
mmcv.__path__.insert(0, {folder!r} + '/mmcv_part')
from tasks.pose import stand_ins
import mmpose.models, mmpose.datasets, mmpose.evaluation
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.utils import ConfigType, reduce_mean
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval
import xtcocotools.mask as mask
"""


def run(code: str, folder: Path) -> None:
    """Run code in a fresh interpreter that sees the files of a folder as installed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTS.format(folder=str(folder)) + code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{folder}:{REPOSITORY}", "PATH": "", "MPLBACKEND": "Agg"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_real_libraries_are_left_alone(tmp_path):
    code = """
assert stand_ins.install() == {}
assert MultiScaleDeformableAttention.real and reduce_mean(0) == 'real'
assert COCO.real and COCOeval.real and mask.real
"""
    run(code, write(tmp_path, REAL))


def test_broken_libraries_are_stood_in_for_and_use_is_refused(tmp_path):
    code = """
reasons = stand_ins.install()
assert 'undefined symbol' in reasons['mmcv.ops'], reasons
assert 'incompatible' in reasons['mmdet.utils'], reasons
assert 'numpy.dtype size changed' in reasons['xtcocotools.coco'], reasons
for use, word in (
    (MultiScaleDeformableAttention, 'undefined symbol'),
    (reduce_mean, 'install mmdet'),
    (COCOeval, 'other scores'),
):
    try:
        use()
    except RuntimeError as error:
        assert word in str(error), error
    else:
        raise AssertionError(use)
try:
    from mmcv.ops import nms
except ImportError as error:
    assert 'mmcv.ops.nms is needed' in str(error)
else:
    raise AssertionError('nms')
from pycocotools.coco import COCO as pycoco
assert COCO is pycoco and mask.area
"""
    run(code, write(tmp_path, BROKEN))


def test_coco_keypoint_evaluation_raises_and_scores_nothing():
    from tasks.pose import stand_ins

    if "xtcocotools.coco" not in stand_ins.install():
        pytest.skip("the real xtcocotools is installed")
    from mmpose.evaluation.metrics import coco_metric

    with pytest.raises(RuntimeError, match="needs xtcocotools"):
        coco_metric.COCOeval(None, None, "keypoints", None, True)


def test_a_stand_in_does_not_pretend_that_mmdet_is_installed():
    import importlib.util

    from tasks.pose import stand_ins

    if "mmdet.utils" not in stand_ins.install():
        pytest.skip("the real mmdet is installed")
    assert "mmdet" not in sys.modules and importlib.util.find_spec("mmdet") is None
