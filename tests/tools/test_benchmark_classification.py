"""The classification and the scale benchmark measure real runs and say what they measured."""

import json

import pytest
from _common import ROOT
from benchmark import main

from ausam_core.errors import AusamError

SAMPLE = ["root=tests/data/cifar10", "check_digest=False"]
PLACES = (
    "train_dataloader.dataset",
    "val_dataloader.dataset",
    "test_dataloader.dataset",
    "model.data_preprocessor.train",
    "model.data_preprocessor.test",
)
OPTIONS = [f"{place}.{setting}" for place in PLACES for setting in SAMPLE]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_methods_and_public_code_take_turns(tmp_path, capsys):
    out = tmp_path / "speed.json"
    main(
        ["speed", "--task", "classification", "--rounds", "2", "--iters", "2", "--warmup", "0"]
        + ["--methods", "ausam-0.5", "sgd-info", "public-ausam", "--json", str(out)]
        + ["--cfg-options", "model.net.width=8", *OPTIONS]
    )
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == ["sgd", "sam", "ausam-0.5", "sgd-info", "public-ausam"]
    for name in ("ausam-0.5", "public-ausam"):
        assert rows[name]["trained"][0] == pytest.approx(0.5 * rows[name]["images"][0], rel=0.02)
    assert rows["sgd-info"]["images"][0] >= rows["sgd-info"]["trained"][0]
    assert "| public-ausam" in capsys.readouterr().out


def test_an_unknown_method_lists_those_there_are():
    with pytest.raises(Exception, match="methods of resnet18 are .*looksam-5.*public-sam"):
        main(["speed", "--task", "classification", "--methods", "adam"])


def test_scale_shows_the_cost_for_every_size(tmp_path, capsys):
    out = tmp_path / "scale.json"
    main(["scale", "--samples", "1000", "20000", "--json", str(out)])
    rows = json.loads(out.read_text())
    assert [row["samples"] for row in rows] == [1000, 20000]
    assert all(row["bytes_per_sample"] == 8 and row["select_us"] > 0 for row in rows)
    assert "|      20,000 |" in capsys.readouterr().out


@pytest.mark.slow
def test_quantized_runs_say_what_a_step_is_made_of(tmp_path, capsys):
    out = tmp_path / "speed.json"
    main(
        ["speed", "--task", "qat", "--methods", "ausam", "float", "--batch-sizes", "16", "24"]
        + ["--rounds", "1", "--iters", "1", "--warmup", "0", "--json", str(out)]
        + ["--cfg-options", "model.net.width=8", *OPTIONS]
    )
    rows = json.loads(out.read_text())["rows"]
    methods = ["sgd", "sam", "ausam", "float"]
    assert [(r["batch_size"], r["name"]) for r in rows] == [
        (size, name) for size in (16, 24) for name in methods
    ]
    assert all(
        row["trained"][0] == row["images"][0] / (1 + (row["name"] == "ausam")) for row in rows
    )
    assert "ms a pass" in capsys.readouterr().out


def test_public_loops_are_refused_where_they_do_not_train():
    with pytest.raises(AusamError, match="public-sam trains float networks"):
        main(["speed", "--task", "qat", "--methods", "public-sam"])
    with pytest.raises(AusamError, match="--batch-sizes is for classification and qat"):
        main(["speed", "--task", "pose", "--batch-sizes", "16"])


def test_augmentation_is_measured_against_torchvisions(tmp_path, capsys):
    out = tmp_path / "augment.json"
    main(
        ["augment", "--rounds", "2", "--iters", "3", "--workers", "1", "--json", str(out)]
        + ["--cfg-options", *OPTIONS]
    )
    torchvision, device = json.loads(out.read_text())
    assert torchvision["ratio"] == [1, 1, 1] and min(device["images"]) > 0
    assert "| torchvision, 1 workers |" in capsys.readouterr().out
