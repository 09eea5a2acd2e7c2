"""What a run starts from: nothing, a checkpoint, or a refusal to lose what is already there."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint, newest_whole_checkpoint


def require_file(path: str | Path, what: str) -> None:
    """Raise unless ``path`` is a file or an address that MMEngine can fetch."""
    if "://" not in str(path) and not Path(path).is_file():
        raise AusamError(f"{what} not found: {path}")


def require_place(path: str | Path | None, what: str) -> None:
    """Raise where a file stands in the way of ``path``, before there is anything to write."""
    path = Path(path or ".")
    in_the_way = next((parent for parent in path.parents if parent.is_file()), None)
    if in_the_way is not None:
        raise AusamError(f"{what} {path} cannot be written: {in_the_way} is a file")


def require_folder(path: str | Path, flag: str) -> None:
    """Make a folder that is going to be written to.

    Raises:
        AusamError: it is a file, or cannot be made or written.
    """
    if Path(path).is_file():
        raise AusamError(f"{path} is a file; choose a folder with {flag}")
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise AusamError(
            f"the folder {path} cannot be written ({error.strerror}); choose another with {flag}"
        ) from error


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """The weights of a model by name, out of a checkpoint or a bare state dict, mapped from disk.

    Raises:
        AusamError: the file is missing, truncated, or holds something else.
    """
    try:
        if "://" in str(path):
            held = CheckpointLoader.load_checkpoint(str(path), map_location="cpu")
        else:
            check_checkpoint(path)
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AusamError(f"{path} cannot be read as a checkpoint ({reason})") from error
    weights = held.get("state_dict", held) if isinstance(held, Mapping) else {}
    if not isinstance(weights, Mapping) or not any(isinstance(w, Tensor) for w in weights.values()):
        raise AusamError(f"{path} holds no weights by name; give a checkpoint of tools/train.py")
    return {name.removeprefix("module."): weight for name, weight in weights.items()}


def check_weights(model: nn.Module, path: str | Path, config: str) -> None:
    """Refuse a checkpoint that lacks a weight of the model, or has it in another shape.

    MMEngine would warn, and go on with random values in its place.

    Args:
        model: what the weights are for.
        path: the checkpoint.
        config: the configuration that the model was built from, for the message.

    Raises:
        AusamError: as :func:`read_weights`, or the weights do not fit.
    """
    weights = read_weights(path)
    for name, weight in _inner(model).state_dict().items():
        there = weights.get(name)
        if there is None or there.shape != weight.shape:
            found = "is not in it" if there is None else f"is {tuple(there.shape)} in it"
            raise AusamError(
                f"{path} does not fit {config}: {name} is {tuple(weight.shape)} in the model and "
                f"{found}; name the configuration that it was trained with"
            )


def check_start(runner: Runner) -> None:
    """Refuse to resume from a checkpoint of another model, and to begin with one of none of whose
    weights the model has a place for.

    Who begins with ``load_from`` may mean a part of the weights, the backbone for another head.

    Raises:
        AusamError: says which.
    """
    path = runner._load_from
    if runner._resume and path is None:
        path = find_latest_checkpoint(runner.work_dir)
    if path is None:
        return
    config = runner.cfg.filename or "the configuration"
    if runner._resume:
        check_weights(runner.model, path, config)
        return
    weights, state = read_weights(path), _inner(runner.model).state_dict()
    if not any(name in state and state[name].shape == w.shape for name, w in weights.items()):
        raise AusamError(
            f"no weight in {path}, which load_from names, fits the model of {config} by name and "
            "shape; name a checkpoint of the same kind of model"
        )


def _inner(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def choose_start(cfg: Config, resume: str | None) -> None:
    """Decide what training starts from, so that nothing is lost and nothing broken is loaded.

    Args:
        cfg: Configuration with ``work_dir`` set; gets ``resume`` and ``load_from``.
        resume: None for a new run, ``auto``, or the path of a checkpoint.

    Raises:
        AusamError: the named checkpoint is missing or truncated, or a new run would write over an
            old one.
    """
    if resume is None and cfg.get("resume"):
        resume = cfg.get("load_from") or "auto"
    if Path(cfg.work_dir).is_file():
        raise AusamError(f"{cfg.work_dir} is a file; choose a folder with --work-dir")
    held = sorted(Path(cfg.work_dir).glob("*.pth"))
    if resume is None:
        if held:
            raise AusamError(
                f"{cfg.work_dir} already holds checkpoints ({held[-1].name}): go on with --resume, "
                "or choose another folder with --work-dir"
            )
        if cfg.get("load_from"):
            require_file(cfg.load_from, "the checkpoint of load_from")
            if "://" not in cfg.load_from:
                check_checkpoint(cfg.load_from)
        return
    cfg.resume = True
    if resume != "auto":
        require_file(resume, "checkpoint to resume from")
        if "://" not in resume:
            check_checkpoint(resume)
        cfg.load_from = resume
        return
    cfg.load_from = None
    if not held:
        # A job may always be sent with --resume: the first time it begins. Checkpoints that the
        # hook's out_dir puts elsewhere are found by MMEngine through its last_checkpoint file.
        cfg.resume = (Path(cfg.work_dir) / "last_checkpoint").is_file()
        return
    whole = newest_whole_checkpoint(cfg.work_dir)
    if whole is None:  # killed while the first one was written: there is nothing to lose
        print(
            f"warning: every checkpoint in {cfg.work_dir} is truncated; starting again", flush=True
        )
        cfg.resume = False
        return
    last = find_latest_checkpoint(cfg.work_dir)
    if last is not None and Path(last).name != whole.name:
        print(f"warning: {last} is missing or truncated; going on from {whole}", flush=True)
    cfg.load_from = str(whole)
