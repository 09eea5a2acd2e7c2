"""Short runs on a few persons of the pose sample: a float estimator, then a quantized one."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

import tasks.qat.mmengine.pose  # noqa: F401  registers
from tests.tasks.qat.mmengine.runs import ROOT, train

PERSONS, TESTED = 32, 12


def config(name: str, folder: Path, epochs: int = 2) -> Config:
    """A pose config in batches of 16, in this process, tested on 12 persons at the end."""
    cfg = Config.fromfile(ROOT / "configs" / f"{name}.py")
    cfg.work_dir = str(folder)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.indices = TESTED
    cfg.train_dataloader.batch_size, cfg.train_dataloader.dataset.indices = 16, PERSONS
    cfg.default_hooks.checkpoint.update(interval=epochs, save_best=None)
    cfg.param_scheduler = None
    if "reestimation" in cfg.default_hooks:
        cfg.default_hooks.reestimation.update(batches=2, compare=False)
        cfg.default_hooks.quantization.calibration_batches = 2
    return cfg


def float_checkpoint(folder: Path) -> Path:
    """A float estimator after a little training, as ``tools/train.py`` leaves it."""
    cfg = config("simcc_mpii_ausam_mini", folder, epochs=1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    DefaultScope._instance_dict.clear()
    train(cfg)
    return folder / "epoch_1.pth"


def quantized_run(folder: Path, floats: Path):
    """The runner of a W4A4 run of AUSAM from that checkpoint."""
    cfg = config("qat/simcc_mini_w4a4_ausam", folder)
    cfg.model.float_checkpoint = str(floats)
    return train(cfg)
