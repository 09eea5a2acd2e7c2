"""Every classification config builds, says what it is, and has the settings of the paper."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

import ausam_core.mmengine  # noqa: F401  registers
import tasks.classification  # noqa: F401  registers
from ausam_core.mmengine import build_selection

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "classification"
FILES = sorted(FOLDER.rglob("*.py"))
NAMES = [str(path.relative_to(FOLDER)) for path in FILES]
SAMPLE = dict(root="tests/data/cifar10", check_digest=False)

# lr, weight decay, rho, s_max (Tables 7 and 8; Section 4.1)
SETTINGS = {
    ("cifar", "resnet18"): (0.05, 0.001, 0.1, 0.5),
    ("cifar", "wrn28-10"): (0.05, 0.001, 0.1, 0.5),
    ("cifar", "pyramidnet110"): (0.1, 0.0005, 0.2, 1.0),
    ("tiny", "resnet18"): (0.1, 0.001, 0.1, 0.5),
    ("tiny", "resnet50"): (0.1, 0.001, 0.1, 1.0),
    ("tiny", "mobilenetv1"): (0.05, 0.0005, 0.05, 1.0),
}
ROWS = {
    "cifar10": ["sgd", "sam", "looksam-5", "esam", "saf", "mesa", "ausam-0.5", "ausam-0.6"],
    "cifar100": ["sgd", "sam", "looksam-5", "esam", "saf", "mesa", "ausam-0.5", "ausam-0.6"],
    "tiny_imagenet": ["sgd", "sam", "ausam-0.5", "ausam-0.6"],
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_there_is_a_config_for_every_row_of_tables_1_to_4():
    wanted = {
        f"{data}/{net}_{row}.py"
        for (family, net) in SETTINGS
        for data, rows in ROWS.items()
        if data.startswith(family)
        for row in rows
    }
    for net in ("resnet18", "wrn28-10"):  # Table 1
        wanted |= {f"cifar100/{net}_ausam-{alpha}.py" for alpha in (0.4, 0.5, 0.6, 0.7)}
    table_4 = ("sgd-info", "sam-info-before", "sam-info-after", "random")
    wanted |= {f"cifar100/resnet18_{row}.py" for row in table_4}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_first_line_names_table_and_row_or_says_that_there_is_none(path):
    first = path.read_text().splitlines()[0]
    assert re.search(r"Table \d.*row|Section 3.2|in none of|in no paper", first), first


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_it_builds_with_the_settings_of_the_paper(path):
    cfg = Config.fromfile(path)
    data, net = path.parent.name, path.stem.split("_")[0]
    lr, decay, rho, s_max = SETTINGS[data.split("1")[0].split("_")[0], net]
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.momentum) == (lr, decay, 0.9)
    assert cfg.train_cfg.max_epochs == 200 and cfg.train_dataloader.batch_size == 128
    assert cfg.model.label_smoothing == 0.1
    if path.stem.endswith(("_sam", "_ausam-0.5", "_ausam-0.6")):
        assert cfg.optim_wrapper.method == dict(type="SAM", rho=rho)
    chosen = cfg.train_dataloader.batch_sampler.selection
    if match := re.search(r"_ausam-(0\.\d)", path.stem):
        late = "_late-" in path.stem
        assert dict(chosen) == dict(
            type="GradientNormSelection",
            alpha=float(match[1]),
            s_min=0.1,
            s_max=s_max,
            start_epoch=None if late else 30,
        )
        assert [h.get("start") for h in cfg.custom_hooks if h.type == "AUSAMHook"] == [
            0.75 if late else None
        ]
    build_selection(chosen, 1000)
    with torch.device("meta"):
        network = MODELS.build(cfg.model.net)
    classes = {"cifar10": 10, "cifar100": 100, "tiny_imagenet": 200}[data]
    assert network.fc.out_features == classes


SLIM = ["resnet18"]
RUN = [p for p in FILES if p.parent.name == "cifar10" and p.stem.split("_")[0] in SLIM]


@pytest.mark.parametrize("path", RUN, ids=[p.stem for p in RUN])
def test_it_trains_two_iterations_of_each_epoch_on_the_sample(path, tmp_path):
    """Three epochs, so that selections select, and what is remembered is used."""
    cfg = Config.fromfile(path)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(SAMPLE)
    cfg.model.data_preprocessor.train.update(SAMPLE)
    cfg.model.data_preprocessor.test.update(SAMPLE)
    cfg.model.net.width = 8
    cfg.train_cfg.update(max_epochs=3, val_interval=3)
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint = None
    cfg.optim_wrapper.method.pop("start_step", None)
    if cfg.optim_wrapper.method.type == "SAF":
        cfg.optim_wrapper.method.update(start_epoch=0, lag=1)
    for hook in cfg.custom_hooks:
        if "start" in hook:
            hook.start = 0.5  # of three epochs the last
    cfg.log_level = "ERROR"
    cfg.work_dir = str(tmp_path)
    cfg.experiment_name = path.stem + tmp_path.name
    runner = Runner.from_cfg(cfg)
    before = {k: v.clone() for k, v in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 6 or "info" in path.stem
    for name, value in runner.model.named_parameters():
        assert value.isfinite().all() and not torch.equal(value, before[name]), name
    scalars = runner.message_hub.log_scalars
    assert scalars["val/accuracy/top1"].current() >= 0
    if re.search("ausam|random|split|el2n", path.stem):
        alpha = getattr(cfg.train_dataloader.batch_sampler.selection, "alpha", None)
        assert scalars["train/share_trained"].current() == pytest.approx(alpha, abs=0.02)
    if "info" in path.stem:
        assert scalars["train/share_trained"].current() < 1
