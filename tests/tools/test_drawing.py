"""Poses are drawn where the joints are, in the colour of their side."""

import numpy as np
import pytest
from PIL import Image

NAMES = ["right_hip", "right_knee", "left_hip", "left_knee", "pelvis"]
JOINTS = np.array([[20.0, 20], [20, 70], [80, 20], [80, 70], [5, 95]])


@pytest.fixture
def drawing():
    import _drawing

    return _drawing


def human(drawing):
    return drawing.Skeleton(NAMES, drawing.LIMBS)


def nearest_colour(drawing, image: Image.Image, x: int, y: int) -> str:
    pixel = np.array(image.getpixel((x, y)))
    return min(drawing.COLOURS, key=lambda side: np.abs(pixel - drawing.COLOURS[side]).sum())


def test_limbs_have_the_colour_of_their_side(drawing):
    picture = drawing.draw_pose(Image.new("RGB", (100, 100)), JOINTS, human(drawing))
    assert nearest_colour(drawing, picture, 20, 45) == "right"
    assert nearest_colour(drawing, picture, 80, 45) == "left"


def test_the_image_itself_is_left_alone(drawing):
    image = Image.new("RGB", (100, 100))
    picture = drawing.draw_pose(image, JOINTS, human(drawing))
    assert picture.size == image.size
    assert not np.asarray(image).any()
    assert np.asarray(picture).any()


def test_pelvis_is_not_drawn(drawing):
    picture = drawing.draw_pose(Image.new("RGB", (100, 100)), JOINTS, human(drawing))
    assert picture.getpixel((5, 95)) == (0, 0, 0)


def test_names_follow_the_order_of_the_predictions(drawing):
    meta = {"keypoint_id2name": {1: "left_hip", 0: "right_hip"}}
    assert drawing.skeleton_of(meta).names == ["right_hip", "left_hip"]


def test_other_joints_than_a_persons_are_drawn_by_the_links_of_their_data_set(drawing):
    meta = {"keypoint_id2name": {0: "nose", 1: "tailLeft", 2: "x"}, "skeleton_links": [(0, 1)]}
    points = np.array([[20.0, 20], [80, 20], [50, 80]])
    picture = drawing.draw_pose(Image.new("RGB", (100, 100)), points, drawing.skeleton_of(meta))
    assert nearest_colour(drawing, picture, 50, 20) == "left"
    assert picture.getpixel((50, 80)) == (0, 0, 0)
    dots = drawing.draw_pose(Image.new("RGB", (100, 100)), points, drawing.Skeleton("abc", []))
    assert dots.getpixel((50, 80)) != (0, 0, 0) and dots.getpixel((50, 20)) == (0, 0, 0)


def test_a_joint_that_is_not_there_is_not_drawn(drawing):
    points = JOINTS.copy()
    points[1] = np.nan
    picture = drawing.draw_pose(Image.new("RGB", (100, 100)), points, human(drawing))
    assert picture.getpixel((20, 45)) == (0, 0, 0)
    assert nearest_colour(drawing, picture, 80, 45) == "left"


@pytest.mark.parametrize("box", [(0, 0, 100, 100), (-40, -40, 30, 30), (60, 60, 400, 90)])
def test_a_tile_puts_the_joints_on_the_right_pixels(drawing, box):
    """A white image with one black spot: the truth's dot falls on the spot, wherever the box is."""
    pixels = np.full((100, 100, 3), 255, np.uint8)
    spot = np.array([25.0, 25.0]) if box[0] < 50 else np.array([70.0, 70.0])
    x, y = spot.astype(int)
    pixels[y, x] = 0
    nothing = np.full((5, 2), -1e4)
    person = drawing.Person(Image.fromarray(pixels), box, nothing, np.zeros((0, 2)), "")
    plain = np.asarray(
        drawing.draw_tile(person, human(drawing), side=400).convert("L"), dtype=float
    )
    length = max(box[2] - box[0], box[3] - box[1]) * 1.1
    corner = np.floor(np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]) - length / 2)
    at = (spot + 0.5 - corner) * 400 / np.ceil(length)
    around = plain[int(at[1]) - 12 : int(at[1]) + 13, int(at[0]) - 12 : int(at[0]) + 13]
    assert abs(np.unravel_index(around.argmin(), around.shape)[0] - 12) <= 2
    assert abs(np.unravel_index(around.argmin(), around.shape)[1] - 12) <= 2


def test_the_grid_holds_every_person(drawing):
    image = Image.new("RGB", (100, 100), (90, 90, 90))
    person = drawing.Person(image, (0, 0, 100, 100), JOINTS, JOINTS, "3/4")
    one = drawing.draw_grid([person], human(drawing), "title", "subtitle")
    seven = drawing.draw_grid([person] * 7, human(drawing), "title", "subtitle")
    assert one.width == seven.width
    tile = drawing.draw_tile(person, human(drawing))
    last = seven.crop((6, seven.height - 230, 230, seven.height - 6))
    assert np.array_equal(np.asarray(last), np.asarray(tile))
