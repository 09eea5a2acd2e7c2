"""The loader reads what MMPose's reads, and names what it cannot read."""

from pathlib import Path

import numpy as np
import pytest
from mmpose.datasets.transforms import LoadImage

from ausam_core.errors import AusamError
from tasks.pose import LoadPoseImage

IMAGE = next((Path(__file__).parents[2] / "data/pose/lspet/images").glob("*.jpg"))


@pytest.mark.parametrize("to_float32", [False, True])
def test_loads_what_mmpose_loads(to_float32):
    ours = LoadPoseImage(to_float32=to_float32)({"img_path": str(IMAGE)})
    theirs = LoadImage(to_float32=to_float32)({"img_path": str(IMAGE)})
    assert ours.keys() == theirs.keys() and ours["img"].dtype == theirs["img"].dtype
    np.testing.assert_array_equal(ours["img"], theirs["img"])
    assert ours["img_shape"] == theirs["img_shape"] and ours["ori_shape"] == theirs["ori_shape"]


def test_takes_an_image_that_is_already_there():
    image = np.zeros((4, 5, 3), np.uint8)
    assert LoadPoseImage()({"img": image, "img_path": None})["img_shape"] == (4, 5)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"no image", IMAGE.read_bytes()[:-300], IMAGE.read_bytes()[:100]],
    ids=["missing", "empty", "text", "cut at the end", "cut in the header"],
)
def test_an_image_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "1.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AusamError, match=str(path)):
        LoadPoseImage()({"img_path": str(path)})
