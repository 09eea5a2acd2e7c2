"""Find what would stop a quantized run, before anything is built."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ausam_core.errors import AusamError
from ausam_core.mmengine import check_checkpoint
from tasks.qat.policy import Policy


def check_config(cfg: Config) -> None:
    """Check the policy and, where a new run begins, that its float checkpoint is there.

    Raises:
        AusamError: names what is wrong, and how to train the float network.
    """
    model = cfg.get("model") or {}
    if model.get("type") != "QuantizedClassifier":
        return
    Policy(**(model.get("policy") or {}))
    path = model.get("float_checkpoint")
    if cfg.get("resume") or cfg.get("load_from") or model.get("from_scratch") or path is None:
        return
    if not Path(path).is_file():
        raise AusamError(
            f"the float checkpoint {path} is not there; train it with `python tools/train.py "
            f"{cfg.get('float_config', 'the float config')}`, or name another with --cfg-options "
            "model.float_checkpoint=FILE"
        )
    check_checkpoint(path)
