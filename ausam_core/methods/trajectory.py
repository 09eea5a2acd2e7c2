"""The term of SAF and MESA: outputs stay near what they were.

Du et al., "Sharpness-Aware Training for Free" (NeurIPS 2022), Eq. 6.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord


def trajectory_loss(reference: Tensor, outputs: Tensor, tau: float) -> Tensor:
    """``τ²·KL(softmax(reference/τ) ‖ softmax(outputs/τ))`` of each sample.

    Args:
        reference: class scores ``[N, C]`` that are looked up to, without gradient.
        outputs: class scores ``[N, C]`` of the present pass.
        tau: temperature τ.

    Returns:
        ``[N]``, fp32.
    """
    log_q = F.log_softmax(outputs.float() / tau, dim=1)
    log_p = F.log_softmax(reference.float() / tau, dim=1)
    return tau**2 * (log_p.exp() * (log_p - log_q)).sum(1)


def class_scores(record: ForwardRecord, method: str) -> Tensor:
    """The class scores of a pass, ``[N, C]``.

    Raises:
        AusamError: where the pass gave none.
    """
    if not isinstance(record.outputs, Tensor) or record.outputs.dim() != 2:
        raise AusamError(
            f"{method} needs the class scores of the pass, shape [N, C], and this model gave none; "
            "return ForwardRecord(total, per_sample, outputs)"
        )
    return record.outputs
