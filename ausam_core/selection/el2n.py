"""EL2N: keep the samples of each batch whose prediction is far from its target.

Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important Examples Early in
Training" (NeurIPS 2021): ``‖softmax(z_i) − y_i‖₂`` is the norm of the sample's gradient at the
class scores. It needs no perturbation, so it exists in any pass of any method, from the first epoch
on, also while the base optimizer trains alone.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.selection.gradient_norm import GradientNormSelection
from ausam_core.step_result import StepResult


def el2n(scores: Tensor, target: Tensor) -> Tensor:
    """``‖softmax − target‖₂`` of each sample, detached, in fp32.

    Args:
        scores: class scores ``[N, C]``, or of several distributions a sample ``[N, …, C]`` (SimCC:
            joints); their squared distances add up.
        target: class numbers ``[N]`` or distributions like ``scores``.
    """
    probabilities = F.softmax(scores.detach().float(), dim=-1)
    if target.shape != scores.shape:
        target = F.one_hot(target.long(), scores.shape[-1])
    return (probabilities - target.to(probabilities)).flatten(1).norm(dim=1)


class EL2NSelection(GradientNormSelection):
    """AUSAM's draw (Eq. 9 and 10) with EL2N as the score.

    The step must hand on the score of its samples: the closure returns ``ForwardRecord(total,
    per_sample, error=el2n(scores, target))``; in MMEngine handlers of the loss modules compute it.

    Args:
        num_samples, alpha, s_min, s_max, start_epoch, estimate, importance, multiple_of, start: see
            :class:`~ausam_core.GradientNormSelection`. With a late start the scores of the epochs
            before it count.
    """

    kind = "el2n"
    #: Whether a pass has to hand on its errors.
    needs_errors = True

    def observed(self, result: StepResult) -> Tensor | None:
        if result.error is None:
            raise AusamError(
                "EL2NSelection learns from how far each prediction is from its target, and this "
                "step gave nothing; return ForwardRecord(total, per_sample, error=el2n(scores, "
                "target)) from the closure"
            )
        return result.error
