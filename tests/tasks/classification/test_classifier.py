"""Classifier, preprocessor, data set and metric together."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from ausam_core import AusamError
from tasks.classification import (
    Accuracy,
    Classifier,
    DevicePreprocessor,
    IndexDataset,
    check_config,
    read_images,
)

ROOT = "tests/data/cifar10"
TRAIN = dict(name="cifar10", root=ROOT, train=True, check_digest=False)
TEST = {**TRAIN, "train": False}


@pytest.fixture(autouse=True)
def at_the_root(request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)


def preprocessor(**settings):
    return DevicePreprocessor(TRAIN, TEST, [125.0] * 3, [60.0] * 3, **settings)


def classifier(**settings):
    net = dict(type="SmallImageResNet", width=8)
    return Classifier(net, preprocessor(), **settings)


def batch(*index):
    return dict(index=torch.tensor(index))


def test_the_loss_is_that_of_each_sample():
    model = classifier(label_smoothing=0.1)
    data = model.data_preprocessor(batch(3, 1, 2), training=True)
    loss = model(**data, mode="loss")["loss"]
    expected = F.cross_entropy(
        model.last_outputs, data["labels"], reduction="none", label_smoothing=0.1
    )
    assert loss.shape == (3,) and torch.equal(loss, expected)
    assert model.parse_losses(dict(loss=loss))[0] == loss.mean()


def test_training_and_evaluation_take_their_own_split():
    images = preprocessor(augmentation=dict(padding=0, flip=False, cutout=0))
    for training, source in ((True, TRAIN), (False, TEST)):
        data, whole = images(batch(7, 0), training), read_images(**source)
        assert torch.equal(data["labels"], whole.labels[[7, 0]])
        expected = (whole.pixels[[7, 0]].float() - 125) / 60
        torch.testing.assert_close(data["inputs"], expected.permute(0, 3, 1, 2))


def test_evaluation_is_not_augmented():
    images = preprocessor()
    first = images(batch(1), False)["inputs"]
    images.epoch = 5
    assert torch.equal(first, images(batch(1), False)["inputs"])
    assert not torch.equal(images(batch(*range(8)), True)["inputs"][1], first[0])


def test_images_are_in_channels_last_memory_and_can_be_enlarged():
    data = preprocessor(size=48)(batch(0, 1), training=True)
    assert data["inputs"].shape == (2, 3, 48, 48)
    assert preprocessor()(batch(0, 1), True)["inputs"].is_contiguous(
        memory_format=torch.channels_last
    )


def test_pixels_are_no_part_of_the_state():
    model = classifier()
    model.data_preprocessor(batch(0), training=True)
    assert not [key for key in model.state_dict() if "data_preprocessor" in key]


def test_the_data_set_gives_numbers():
    data = IndexDataset(**TRAIN)
    assert len(data) == 250 and data[7] == dict(index=7) and len(data.metainfo["classes"]) == 10


def test_accuracy_is_in_percent_over_all_batches():
    metric = Accuracy(topk=(1, 2))
    scores = torch.eye(4)
    metric.process(None, [dict(scores=scores, labels=torch.tensor([0, 1, 2, 3]))])
    metric.process(None, [dict(scores=scores[:1], labels=torch.tensor([3]))])
    found = metric.evaluate(size=5)
    assert found == {"accuracy/top1": 80.0, "accuracy/top2": 80.0}


def config(**net):
    model = dict(net=dict(type="SmallImageResNet", **net))
    return Config(
        dict(model=model, train_dataloader=dict(dataset=dict(type="IndexDataset", **TRAIN)))
    )


def test_a_network_that_does_not_fit_the_classes_is_refused():
    check_config(config(num_classes=10))
    with pytest.raises(AusamError, match="gives 100 class scores, but cifar10 has 10"):
        check_config(config(num_classes=100))


def test_a_network_that_keeps_its_default_of_classes_is_held_to_it(monkeypatch):
    check_config(config())
    hundred = SimpleNamespace(classes=range(100))
    monkeypatch.setattr("tasks.classification.check.read_images", lambda **_: hundred)
    with pytest.raises(AusamError, match="gives 10 class scores.*num_classes=100"):
        check_config(config())


def test_a_classifier_can_be_copied_after_a_pass():
    model = classifier()
    data = model.data_preprocessor(batch(0, 1), training=True)
    loss = model(**data, mode="loss")["loss"]
    copied = copy.deepcopy(model)
    assert copied.last_outputs is None and model.last_outputs is not None
    assert torch.equal(copied(**data, mode="loss")["loss"], loss)


def test_a_label_smoothing_out_of_range_is_refused():
    with pytest.raises(AusamError, match=r"in \[0, 1\), found 1.5"):
        classifier(label_smoothing=1.5)
