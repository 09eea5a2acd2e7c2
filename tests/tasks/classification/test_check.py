"""A loader gives numbers, the data preprocessor the images: both must mean the same ones."""

from pathlib import Path

import pytest
from mmengine.config import Config

from ausam_core import AusamError
from tasks.classification import check_config

ROOT = Path(__file__).parents[3]
SAMPLE = dict(name="cifar10", root=str(ROOT / "tests/data/cifar10"), check_digest=False)
TRAIN, TEST = dict(SAMPLE, train=True), dict(SAMPLE, train=False)


def config(train=TRAIN, val=TEST, test=TEST, held_train=TRAIN, held_test=TEST, **more):
    return Config(
        dict(
            model=dict(
                data_preprocessor=dict(type="DevicePreprocessor", train=held_train, test=held_test)
            ),
            train_dataloader=dict(dataset=dict(type="IndexDataset", **train)),
            val_dataloader=dict(dataset=dict(type="IndexDataset", **val)),
            test_dataloader=dict(dataset=dict(type="IndexDataset", **test)),
            **more,
        )
    )


@pytest.mark.parametrize(
    "changed",
    [
        {},
        dict(train=dict(TRAIN, part=[50, 100]), held_train=dict(TRAIN, part=(50, 100))),
        dict(train=dict(TRAIN, part=[0, 250])),  # all there are
        dict(train=dict(TRAIN, root=SAMPLE["root"] + "/")),
    ],
)
def test_the_same_images_may_be_named_in_several_ways(changed):
    check_config(config(**changed))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            dict(train=dict(TRAIN, part=[100, 150])),
            r"train_dataloader.dataset and model.data_preprocessor.train name different images "
            r"\(part=\[100, 150\]; no part\)",
        ),
        (dict(held_train=dict(TRAIN, part=[0, 50])), r"no part; part=\[0, 50\]"),
        (dict(train=dict(TRAIN, wrong_labels=0.4)), "wrong_labels=0.4; no wrong_labels"),
        (dict(train=TEST), "train=False; train=True"),
        (dict(held_test=dict(TEST, part=[0, 50])), "val_dataloader.*data_preprocessor.test"),
        (dict(test=dict(TEST, part=[0, 50])), "test_dataloader.*data_preprocessor.test"),
        (dict(val=TRAIN), "val_dataloader.*train=True; train=False"),
        (
            dict(trained_dataloader=dict(dataset=dict(type="IndexDataset", **TEST))),
            "trained_dataloader.*data_preprocessor.train",
        ),
        (dict(train=dict(TRAIN, prt=[0, 50])), "train_dataloader.dataset does not fit.*'prt'"),
    ],
)
def test_a_loader_that_names_other_images_is_refused(changed, says):
    with pytest.raises(AusamError, match=says):
        check_config(config(**changed))


def test_who_tests_need_not_have_the_training_images():
    cfg = config(held_train=dict(TRAIN, root="nowhere"))
    cfg.train_dataloader = cfg.val_dataloader = None
    cfg.trained_dataloader = dict(dataset=dict(TRAIN, type="IndexDataset", root="nowhere"))
    check_config(cfg)


CONFIGS = [
    *sorted(path.relative_to(ROOT) for path in (ROOT / "configs/studies").glob("[cr]*.py")),
    "configs/classification/cifar100/resnet18_sgd.py",
    "configs/classification/tiny_imagenet/resnet18_sgd.py",
    "configs/qat/resnet18_slim_sgd.py",
]


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_configs_name_the_same_images_in_loader_and_preprocessor(path):
    cfg = Config.fromfile(ROOT / path, import_custom_modules=False)
    for loader, split in (("train", "train"), ("val", "test"), ("test", "test")):
        dataset = dict(cfg[f"{loader}_dataloader"].dataset)
        assert dataset.pop("type") == "IndexDataset"
        assert dataset == dict(cfg.model.data_preprocessor[split])
