"""Runs of MMEngine over the slim configs, on the small sample of CIFAR-10.

As a program it is what one of two ranks does:
``torchrun … -m tests.tasks.qat.mmengine.runs FLOAT FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

import tasks.qat.mmengine  # noqa: F401  registers
from tests.leave import leave

ROOT = Path(__file__).parents[4]
SAMPLE = str(ROOT / "tests/data/cifar10")


class Kill(Hook):
    """Stops a run at the beginning of an epoch, as a signal would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def on_the_sample(node: Any) -> None:
    """Let every data set in a config be the small sample."""
    if isinstance(node, dict):
        if "root" in node:
            node.update(root=SAMPLE, check_digest=False)
        for value in node.values():
            on_the_sample(value)


def config(name: str, work_dir: Path, epochs: int = 2, **model: Any) -> Config:
    """A config of ``configs/qat`` on the sample, batch 50, evaluated every epoch."""
    cfg = Config.fromfile(ROOT / "configs/qat" / f"{name}.py")
    on_the_sample(cfg._cfg_dict)
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.train_dataloader.batch_size = 50
    cfg.default_hooks.checkpoint.interval = 1
    cfg.default_hooks.checkpoint.save_best = None
    cfg.default_hooks.logger.interval = 1
    if "reestimation" in cfg.default_hooks:
        cfg.default_hooks.reestimation.batches = 2
        cfg.default_hooks.quantization.calibration_batches = 2
    cfg.param_scheduler[0].T_max = epochs
    cfg.model.update(model)
    return cfg


def float_checkpoint(folder: Path, name: str = "resnet18_slim_float", **net: Any) -> Path:
    """A float classifier after a little training, as ``tools/train.py`` leaves it."""
    cfg = config(name, folder, epochs=6)
    cfg.model.net.update(net)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.randomness = dict(seed=0)
    train(cfg)
    return folder / "epoch_6.pth"


def train(cfg: Config, *hooks: Hook) -> Runner:
    cfg.experiment_name = f"{Path(cfg.work_dir).name}-{torch.randint(1 << 60, ()).item()}"
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, all the way down."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a.nan_to_num(), b.nan_to_num())  # a score that nobody has yet is NaN
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def main(float_path: str, folder: str) -> None:
    """Train on two ranks, and write down what this rank ended with."""
    sys.path.insert(0, str(ROOT / "tools"))
    from _common import build_runner

    cfg = config("resnet18_slim_ausam", Path(folder), float_checkpoint=float_path)
    cfg.launcher = "pytorch"
    runner = build_runner(cfg)
    runner.train()
    state = runner.model.module.net.state_dict()
    torch.save(state, Path(folder) / f"rank{get_rank()}.pt")
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
