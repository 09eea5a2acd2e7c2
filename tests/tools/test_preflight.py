"""What would end a run late or with a riddle is said before it starts."""

import importlib.util
import json

import _preflight
import pytest
import torch
from _common import load_config
from mmengine.config import Config
from torch.utils.data import DataLoader, TensorDataset

from ausam_core.errors import AusamError

WORKERS = """
train_dataloader = dict(
    num_workers=2, persistent_workers=True, prefetch_factor=4, timeout=60,
    multiprocessing_context='fork', batch_size=2)
val_dataloader = [dict(train_dataloader)]
test_dataloader = None
"""


@pytest.fixture
def with_workers(tmp_path):
    path = tmp_path / "workers.py"
    path.write_text(WORKERS)
    return path


def test_no_workers_leaves_out_whatever_torch_refuses_without_them(with_workers):
    cfg = load_config(with_workers, {"train_dataloader.num_workers": 0})
    assert cfg.train_dataloader == dict(num_workers=0, batch_size=2)
    loader = DataLoader(TensorDataset(torch.zeros(4, 1)), **cfg.train_dataloader)
    assert len(list(loader)) == 2


def test_settings_of_workers_stay_where_there_are_some(with_workers):
    cfg = load_config(with_workers)
    assert cfg.train_dataloader.prefetch_factor == 4
    assert cfg.val_dataloader[0].persistent_workers


@pytest.mark.parametrize("name", _preflight.PACKAGES)
def test_a_logger_whose_package_is_missing_is_named_with_the_command(monkeypatch, name):
    find = importlib.util.find_spec
    module, package = _preflight.PACKAGES[name]
    cfg = Config(
        dict(visualizer=dict(vis_backends=[dict(type="LocalVisBackend"), dict(type=name)]))
    )
    monkeypatch.setattr(_preflight, "find_spec", lambda n: None if n == module else find(n))
    with pytest.raises(AusamError, match=f"{name} needs the package .*pip install {package}"):
        _preflight.check_run(cfg)
    monkeypatch.setattr(_preflight, "find_spec", lambda n: object())
    _preflight.check_run(cfg)


def test_every_vis_backend_of_mmengine_that_imports_something_is_known():
    from mmengine.visualization import vis_backend

    named = {name for name in vars(vis_backend) if name.endswith("VisBackend")}
    assert named - set(_preflight.PACKAGES) == {"BaseVisBackend", "LocalVisBackend"}


@pytest.mark.parametrize(
    "option", [dict(runner_type="FlexibleRunner"), dict(strategy=dict(type="DDPStrategy"))]
)
def test_another_runner_is_refused_by_name(option):
    with pytest.raises(AusamError, match="FlexibleRunner.*leave runner_type and strategy out"):
        _preflight.check_run(Config(option))


@pytest.mark.parametrize(
    "option, says",
    [
        ("runner_type=FlexibleRunner", "FlexibleRunner"),
        ("visualizer.vis_backends=\"[{'type': 'NeptuneVisBackend'}]\"", "pip install neptune"),
    ],
)
def test_training_refuses_before_anything_is_written(
    tool, toy_config, fails_with, tmp_path, monkeypatch, option, says
):
    monkeypatch.setattr(_preflight, "find_spec", lambda name: None)
    with toy_config.open("a") as file:
        file.write("visualizer = dict(type='Visualizer')\n")
    if "[" in option:
        with toy_config.open("a") as file:
            file.write("visualizer['vis_backends'] = [dict(type='NeptuneVisBackend')]\n")
        option = "launcher=none"
    work = tmp_path / "work"
    line = fails_with(tool("train").main, toy_config, "--work-dir", work, "--cfg-options", option)
    assert says in line and not work.exists()


def test_a_run_with_no_workers_on_the_command_line_trains(tool, toy_config, tmp_path):
    with toy_config.open("a") as file:
        for split in ("train", "val", "test"):
            file.write(f"{split}_dataloader.update(num_workers=1, persistent_workers=True)\n")
    options = [f"{split}_dataloader.num_workers=0" for split in ("train", "val", "test")]
    work = tmp_path / "work"
    argv = [str(toy_config), "--work-dir", str(work), "--cfg-options", *options]
    tool("train").main(argv)
    tool("test").main([argv[0], str(work / "epoch_2.pth"), *argv[1:], "launcher=none"])
    assert json.loads(next(work.glob("*/*.json")).read_text().splitlines()[0])["accuracy"] >= 0
