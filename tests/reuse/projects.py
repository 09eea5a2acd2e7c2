"""Other people's MMEngine projects on a few random samples, their code and configs untouched.

A project's config is read from its wheel. Replaced are only what a test cannot have: the data set,
the size of the images, and pretrained weights.
"""

from __future__ import annotations

import copy
import importlib
import itertools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, TRANSFORMS
from mmengine.runner import Runner
from torch.utils.data import Dataset

import ausam_core.mmengine  # noqa: F401  what custom_imports does

N, RHO = 4, 0.01
HALF = dict(alpha=0.5, s_min=0.1, s_max=1.0, start_epoch=1)
MAKERS: dict[str, Callable[[int], dict]] = {}
"""Raw samples by name, for a config holds no functions."""
_names = itertools.count()


def maker(make: Callable[[int], dict]) -> Callable[[int], dict]:
    """Let :class:`FewSamples` find the function by its name."""
    MAKERS[make.__name__] = make
    return make


@DATASETS.register_module(force=True)
class FewSamples(Dataset):
    """Random samples, each the same whenever it is asked for.

    Args:
        make: name of the function that gives the raw sample of a number, a dict as a project's own
            data set does.
        pipeline: transforms of the project.
        size: number of samples.
    """

    def __init__(self, make: str, pipeline: list[dict], size: int = N) -> None:
        self.make, self.size = MAKERS[make], size
        self.transforms = [TRANSFORMS.build(t) for t in pipeline]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        info: Any = self.make(index)
        for transform in self.transforms:
            info = transform(info)
        return info


class FirstBatch(Hook):
    """Keeps the weights and the batch that the first step begins with, and the weights after each
    step."""

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self.state: dict[str, torch.Tensor] | None = None
        self.batch: Any = None
        self.weights: list[torch.Tensor] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self.state is None:
            self.state = copy.deepcopy(runner.model.state_dict())
            self.batch = copy.deepcopy(dict(data_batch))

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        self.weights.append(torch.cat([p.detach().flatten() for p in runner.model.parameters()]))


def config_of(package: str, path: str) -> Config:
    """A config that a package's wheel carries, without its pretrained weights."""
    if package == "mmpose":
        importlib.import_module("tasks.pose")  # lets it import on a current stack
    importlib.import_module(f"{package}.models")
    folder = Path(find_spec(package).origin).parent / ".mim/configs"
    cfg = Config.fromfile(folder / path)
    _forget_pretrained(cfg.model)
    if "data_preprocessor" in cfg:  # as MMPretrain's tools/train.py does
        cfg.model.setdefault("data_preprocessor", cfg.data_preprocessor)
    return cfg


def _forget_pretrained(value: Any) -> None:
    if isinstance(value, dict):
        init = value.get("init_cfg")
        if isinstance(init, dict) and init.get("type") == "Pretrained":
            value["init_cfg"] = None
        for item in value.values():
            _forget_pretrained(item)
    elif isinstance(value, list):
        for item in value:
            _forget_pretrained(item)


def one_line(cfg: Config) -> None:
    """README's one line."""
    cfg.custom_hooks = [
        *cfg.get("custom_hooks", []),
        dict(type="AUSAMHook", rho=RHO, **HALF),
    ]


def three_lines(cfg: Config) -> None:
    """README's three."""
    wrapper = {**cfg.optim_wrapper, "type": "SAMOptimWrapper", "method": dict(type="SAM", rho=RHO)}
    cfg.optim_wrapper = wrapper
    cfg.train_dataloader.batch_sampler = dict(
        type="SelectiveBatchSampler", selection=dict(type="GradientNormSelection", **HALF)
    )
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="AUSAMHook")]


def runner_of(
    cfg: Config,
    work_dir: Path,
    lines: Callable[[Config], None],
    *hooks: Hook,
    size: int = N,
    epochs: int = 1,
    save: bool = False,
    **kwargs: Any,
) -> Runner:
    """A runner of the project with some lines added; ``cfg.train_dataloader.dataset`` is set."""
    cfg = copy.deepcopy(cfg)
    cfg.train_dataloader.dataset.size = size
    cfg.train_dataloader.update(batch_size=N, num_workers=0, persistent_workers=False)
    cfg.train_dataloader.pop("prefetch_factor", None)
    for split in ("val", "test"):
        cfg[f"{split}_cfg"] = cfg[f"{split}_dataloader"] = cfg[f"{split}_evaluator"] = None
    cfg.param_scheduler = None  # schedules of hundreds of epochs refuse to be as short as this
    cfg.train_cfg = dict(by_epoch=True, max_epochs=epochs)
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1) if save else None
    cfg.work_dir, cfg.experiment_name = str(work_dir), f"reuse-{next(_names)}"
    cfg.log_level = "WARNING"
    cfg.randomness = dict(seed=1)
    cfg.update(kwargs)
    lines(cfg)
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    return runner


def choice_of(runner: Runner) -> Any:
    """What AUSAMHook knows of each sample, and by which selection it chooses."""
    return next(h for h in runner.hooks if type(h).__name__ == "AUSAMHook").choice
