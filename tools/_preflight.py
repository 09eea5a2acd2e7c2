"""What a configuration asks for that would end a run late or in a riddle, said beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config

from ausam_core.errors import AusamError, as_number

# Settings of a loader that torch refuses, or asserts against, where there are no workers.
OF_WORKERS = ("persistent_workers", "prefetch_factor", "multiprocessing_context", "timeout")

# Settings of torch's optimizers that are one number each.
OF_OPTIMIZERS = ("lr", "weight_decay", "momentum", "dampening", "eps", "alpha")

# MMEngine's back ends, what each imports when the first value is written, and what installs it.
PACKAGES = {
    "TensorboardVisBackend": ("tensorboard", "tensorboard"),
    "WandbVisBackend": ("wandb", "wandb"),
    "MLflowVisBackend": ("mlflow", "mlflow"),
    "ClearMLVisBackend": ("clearml", "clearml"),
    "NeptuneVisBackend": ("neptune", "neptune"),
    "DVCLiveVisBackend": ("dvclive", "dvclive"),
    "AimVisBackend": ("aim", "aim"),
}


def settle_workers(cfg: Config) -> None:
    """Let ``num_workers=0`` be enough: leave out what a loader has for its workers only.

    A configuration sets ``persistent_workers`` where it sets the number; who overrides the number
    on the command line means the loader to run in the process itself.
    """
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        for each in loader if isinstance(loader, (list, tuple)) else [loader]:
            if isinstance(each, dict) and not each.get("num_workers", 0):
                for name in OF_WORKERS:
                    each.pop(name, None)


def check_run(cfg: Config) -> None:
    """Refuse what these tools do not run, settings that are no numbers, and loggers whose package
    is not installed.

    Raises:
        AusamError: another runner than MMEngine's ``Runner``, a length of the run or a setting of
            the optimizer that is no number, or a missing package, by name.
    """
    runner = _name(cfg.get("runner_type", "Runner"))
    if runner != "Runner" or cfg.get("strategy"):
        found = f"runner_type={runner}" if runner != "Runner" else "strategy"
        raise AusamError(
            f"{cfg.filename} sets {found}, but training here runs in MMEngine's Runner: "
            "FlexibleRunner and its strategies own backward and step, and a method needs both "
            "twice; leave runner_type and strategy out (--amp and --launcher take their place)"
        )
    _check_numbers(cfg)
    for name in _vis_backends(cfg):
        module, package = PACKAGES.get(name, (None, None))
        if module and find_spec(module) is None:
            raise AusamError(
                f"{name} needs the package {package}, which is not installed: run `python -m pip "
                f"install {package}`, or leave {name} out of vis_backends"
            )


def _check_numbers(cfg: Config) -> None:
    """Of what a mistyped word would end in a comparison deep inside, or a run of no step."""
    length = cfg.get("train_cfg") or {}
    for name in ("max_epochs", "max_iters"):
        found = length.get(name)
        if found is not None and not as_number(f"train_cfg.{name}", found) >= 1:
            raise AusamError(f"train_cfg.{name} must be 1 or more, found {found}")
    optimizer = (cfg.get("optim_wrapper") or {}).get("optimizer")
    for name in OF_OPTIMIZERS:
        if isinstance(optimizer, Mapping) and isinstance(optimizer.get(name), str):
            as_number(f"optim_wrapper.optimizer.{name}", optimizer[name])


def _vis_backends(cfg: Config) -> Iterator[str]:
    visualizer = cfg.get("visualizer") or {}
    for backend in visualizer.get("vis_backends") or []:
        yield _name(backend.get("type", "") if isinstance(backend, Mapping) else type(backend))


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else kind.__name__
