"""A run of any method that goes on from a checkpoint is the run that never stopped, to the bit."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

ROOT = Path(__file__).parents[3]
SAMPLE = dict(root="tests/data/cifar10", check_digest=False)
RUNS = {
    "sgd": {},
    "saf": dict(start_epoch=0, lag=1),
    "mesa": dict(start_step=0),
    "esam": {},
    "vsam": dict(warmup_steps=2, window=3),
    "ausam-0.5_looksam-5": dict(k=2),
    "ausam-0.5_aesam": {},
    "sam-info-after": {},
}


def train(name, folder, resume=None):
    cfg = Config.fromfile(ROOT / f"configs/classification/cifar10/resnet18_{name}.py")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(SAMPLE)
    for split in ("train", "test"):
        cfg.model.data_preprocessor[split].update(SAMPLE)
    cfg.model.net.width = 8
    cfg.optim_wrapper.method.update(RUNS[name])
    cfg.train_cfg.update(max_epochs=4)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1)
    cfg.log_level, cfg.work_dir = "ERROR", str(folder)
    cfg.experiment_name = f"{name}{folder}"
    cfg.resume, cfg.load_from = resume is not None, resume and str(resume)
    Runner.from_cfg(cfg).train()
    return torch.load(folder / "epoch_4.pth", weights_only=True)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a.nan_to_num(), b.nan_to_num()) if a.is_floating_point() else a.equal(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.mark.parametrize("name", RUNS)
def test_it_is_the_same_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    whole = train(name, tmp_path / "whole")
    resumed = train(name, tmp_path / "resumed", resume=tmp_path / "whole" / "epoch_2.pth")
    for part in ("state_dict", "optimizer", "param_schedulers", "ausam"):
        assert equal(whole[part], resumed[part]), part
