"""The float network as a teacher of the quantized one, sample by sample.

Hinton et al., "Distilling the Knowledge in a Neural Network" (2015); for few bits Mishra and Marr,
"Apprentice" (ICLR 2018), and Polino et al., "Model compression via distillation and quantization"
(ICLR 2018). The loss of each sample holds both parts, so that SAM climbs it and AUSAM compares it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ausam_core.errors import AusamError


def check_distillation(weight: float, temperature: float) -> None:
    """Refuse settings out of range.

    Raises:
        AusamError: names the setting.
    """
    if not 0 < weight <= 1:
        raise AusamError(f"the weight of distillation must be in (0, 1], found {weight}")
    if not temperature > 0:
        raise AusamError(f"the temperature of distillation must be positive, found {temperature}")


def distilled(
    losses: Tensor, scores: Tensor, teacher: Tensor, weight: float, temperature: float
) -> Tensor:
    """``(1 − weight)·ℓ_i + weight·T²·KL(softmax(teacher_i / T) ‖ softmax(scores_i / T))``.

    T² keeps the gradient of the second part as large as that of the first (Hinton et al., section
    2).

    Args:
        losses: of the labels, ``[K]``.
        scores, teacher: class scores of both networks, ``[K, C]``.
        weight: share of the teacher.
        temperature: T; the larger, the more the teacher's small scores count.

    Returns:
        A loss of each sample, ``[K]``.
    """
    log_p = F.log_softmax(scores.float() / temperature, 1)
    log_q = F.log_softmax(teacher.float() / temperature, 1)
    apart = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(1)
    return (1 - weight) * losses + weight * temperature**2 * apart
