"""Find what would stop a quantized run, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ausam_core.errors import AusamError
from tasks.qat.policy import Policy

MODELS = ("QuantizedClassifier", "QuantizedPoseEstimator")
"""What a model of a quantized run may be."""


def check_config(cfg: Mapping[str, Any]) -> None:
    """Check the policy and, where a new run begins, that its float checkpoint is there.

    Args:
        cfg: configuration of a run, as MMEngine's ``Config`` or a dict.

    Raises:
        AusamError: names what is wrong, and how to train the float network.
    """
    model = cfg.get("model") or {}
    if model.get("type") not in MODELS:
        return
    Policy.of_config(model.get("policy"))
    if cfg.get("resume") or cfg.get("load_from") or model.get("from_scratch"):
        return
    path = model.get("float_checkpoint")
    if path is not None and not Path(path).is_file():
        raise AusamError(
            f"the float checkpoint {path} is not there; train it with `python tools/train.py "
            f"{cfg.get('float_config', 'the float config')}`, or name another with --cfg-options "
            "model.float_checkpoint=FILE"
        )
