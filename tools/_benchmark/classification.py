"""The runs of `tasks.classification` and `tasks.qat` that are compared: one configuration a method,
and public code."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from ausam_core.errors import AusamError

from .public_style import PublicLoop
from .trainee import Trainee

METHODS = {
    "classification": ["sgd", "sam", "ausam-0.5", "ausam-0.5_looksam-5"],
    "qat": ["sgd", "sam", "ausam", "float"],
}
PUBLIC = ("public-sam", "public-ausam", "pytorch_optimizer-sam")


def config_of(folder: Path, model: str, method: str) -> Path:
    """Configuration file of a method.

    Raises:
        AusamError: there is none; lists those there are.
    """
    path = folder / f"{model}_{method}.py"
    if not path.is_file():
        known = sorted(p.stem.partition("_")[2] for p in folder.glob(f"{model}_*.py"))
        raise AusamError(
            f"there is no configuration {path}; methods of {model} are "
            f"{', '.join([*known, *PUBLIC]) if known else 'none: see --model'}"
        )
    return path


def prepare(cfg: Config, work_dir: Path) -> None:
    """Change a configuration so that it can be trained in turns and leaves nothing behind."""
    # MMEngine keeps a run's log and its averages under this name: one for each run.
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir)
    cfg.train_cfg = dict(type="SteppedLoop", max_epochs=cfg.train_cfg.max_epochs, first_epoch=40)
    for split in ("val", "test"):
        cfg[f"{split}_cfg"] = cfg[f"{split}_dataloader"] = cfg[f"{split}_evaluator"] = None
    cfg.default_hooks.checkpoint = None
    if "quantization" in cfg.default_hooks:
        cfg.default_hooks.pop("reestimation")  # it precedes evaluations
        cfg.default_hooks.quantization.calibration_batches = 1
    cfg.log_level = "ERROR"


def make_trainees(
    configs: dict[str, Config], public: Sequence[str], folder: Path
) -> list[Trainee | PublicLoop]:
    """The runs in the order of the table: base and SAM first, since ratios refer to them.

    They begin in epoch 40, where s_max has reached its value and SAF has its references' age.
    """
    trainees: list[Trainee | PublicLoop] = []
    for name, cfg in configs.items():
        cfg = copy.deepcopy(cfg)
        prepare(cfg, folder / name)
        trainees.append(Trainee(name, cfg))
    for name in public:
        trainees.append(_public(name, configs["sam"]))
    return trainees


def read_training_images(cfg: Config) -> Any:
    """Pixels and labels of the training split of a configuration."""
    from tasks.classification import read_images  # known only once a configuration was loaded

    source = dict(cfg.train_dataloader.dataset)
    source.pop("type")
    return read_images(**source)


def _public(name: str, cfg: Config) -> PublicLoop:
    images = read_training_images(cfg)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    statistics = cfg.model.data_preprocessor
    return PublicLoop(
        name,
        MODELS.build(cfg.model.net).to(device),
        (images.pixels, images.labels, statistics.mean, statistics.std),
        batch_size=cfg.train_dataloader.batch_size,
        rho=cfg.optim_wrapper.method.rho,
        alpha=0.5 if name == "public-ausam" else 1.0,
        optimizer="pytorch_optimizer" if name.startswith("pytorch_optimizer") else "own",
    )
