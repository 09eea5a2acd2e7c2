"""What a run starts from: nothing, a checkpoint, or a refusal to lose what is already there."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint, newest_whole_checkpoint


def require_file(path: str | Path, what: str) -> None:
    """Raise unless ``path`` is a file or an address that MMEngine can fetch."""
    if "://" not in str(path) and not Path(path).is_file():
        raise AusamError(f"{what} not found: {path}")


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
