"""What is wrong with the data is said in one sentence that names the file."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image
from scipy.io import savemat

from ausam_core.errors import AusamError
from tasks.pose import check as check_module
from tasks.pose import check_config, check_dataset

MINI = "configs/simcc_mpii_ausam_mini.py"


def files(dataset: dict) -> tuple[Path, Path, list[Path]]:
    """Annotation file, head box file and images of the data set."""
    root = Path(dataset["data_root"])
    return root / dataset["ann_file"], root / "annotations/gt.mat", sorted(root.glob("images/*"))


def complaint(dataset: dict) -> str:
    with pytest.raises(AusamError) as caught:
        check_dataset(dataset)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_data_set_passes(dataset):
    check_dataset(dataset)


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_file_is_named_with_where_to_get_it(dataset, which):
    path = files(dataset)[which]
    path.unlink()
    message = complaint(dataset)
    assert str(path) in message and "human-pose.mpi-inf.mpg.de" in message and MINI in message


def test_a_missing_image_is_named_and_the_missing_are_counted(dataset):
    images = files(dataset)[2]
    images[1].unlink()
    message = complaint(dataset)
    assert str(images[1]) in message and "1 of the 3 images" in message and MINI in message


def test_a_missing_image_folder_is_named(dataset):
    dataset["data_prefix"] = dict(img="elsewhere")
    assert str(Path(dataset["data_root"], "elsewhere")) in complaint(dataset)


@pytest.mark.parametrize("content", [b"", b"half"])
def test_an_empty_or_truncated_image_is_named(dataset, content):
    image = files(dataset)[2][2]
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2] if content else b"")
    message = complaint(dataset)
    assert str(image) in message and "truncated" in message


def test_an_image_padded_after_its_end_is_whole(dataset):
    image = files(dataset)[2][0]
    image.write_bytes(image.read_bytes() + bytes(1000))
    check_dataset(dataset)


def test_only_a_bounded_number_of_images_is_opened(dataset, monkeypatch):
    opened = []
    monkeypatch.setattr(check_module, "MAX_OPENED", 2)
    monkeypatch.setattr(check_module, "_is_whole", lambda path: opened.append(path.name) or True)
    check_dataset(dataset)
    images = files(dataset)[2]
    assert opened == [images[0].name, images[2].name]


@pytest.mark.parametrize("text", ["[{", "{}", '[{"img": 1}]', "3"])
def test_an_annotation_file_that_is_no_list_of_persons_is_named(dataset, text):
    path = files(dataset)[0]
    path.write_text(text)
    assert str(path) in complaint(dataset)


def test_names_that_mmpose_cannot_number_point_to_the_other_class(dataset):
    path = files(dataset)[0]
    persons = json.loads(path.read_text())
    persons[1]["image"] = "dog.jpg"
    path.write_text(json.dumps(persons))
    assert "dog.jpg" in complaint(dataset) and "OwnPoseDataset" in complaint(dataset)


def test_the_size_of_an_image_is_that_of_the_upright_picture(dataset, capsys):
    """A phone stores pictures lying and says so; annotations are of the upright one."""
    ann_file, _, images = files(dataset)
    exif = Image.Exif()
    exif[check_module.ORIENTATION] = 6
    Image.new("RGB", (300, 40)).save(images[0], exif=exif)
    persons = json.loads(ann_file.read_text())
    person = next(p for p in persons if p["image"] == images[0].name)
    person["joints"][0], person["joints_vis"][0] = [20, 290], 1
    for k in range(1, 16):
        person["joints_vis"][k] = 0
    ann_file.write_text(json.dumps(persons))
    check_dataset(dataset)
    assert capsys.readouterr().out == ""
    person["joints"][0] = [290, 20]
    ann_file.write_text(json.dumps(persons))
    check_dataset(dataset)
    assert "image of 40 x 300" in capsys.readouterr().out


def test_a_truncated_head_box_file_is_named(dataset):
    path = files(dataset)[1]
    path.write_bytes(path.read_bytes()[:150])
    assert str(path) in complaint(dataset)


def test_head_boxes_of_another_list_are_refused(dataset):
    ann_file, mat_file, _ = files(dataset)
    persons = json.loads(ann_file.read_text())
    ann_file.write_text(json.dumps(persons[:2]))
    message = complaint(dataset)
    assert str(mat_file) in message and "3 persons" in message and "has 2" in message
    savemat(mat_file, {"other": [1]})
    assert str(mat_file) in complaint(dataset)


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: dict(type="Repeat", dataset=d)])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_split_of_a_config_is_checked_inside_wrappers_too(dataset, split, wrap):
    files(dataset)[2][0].unlink()
    other = dict(type="CocoDataset", ann_file="not/looked/at.json")
    concat = dict(type="CombinedDataset", datasets=[other, wrap(dataset)])
    with pytest.raises(AusamError, match="1 of the 3"):
        check_config(Config({f"{split}_dataloader": dict(dataset=concat)}))


def test_a_config_without_mpii_passes():
    check_config(
        Config(dict(train_dataloader=dict(dataset=dict(type="Other")), val_dataloader=None))
    )
