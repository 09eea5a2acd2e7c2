"""AUSAM: keep the samples of each batch whose gradient norm is probably large.

Deng, Pang, Zhang: "Asymptotic Unbiased Sample Sampling to Speed Up Sharpness-Aware Minimization".
The estimate of the gradient norm costs nothing: by how much the loss of the sample moved under
SAM's perturbation in earlier epochs. To first order that is ``ρ·|⟨g_i, g_B⟩|/‖g_B‖``, the part of
the sample's gradient along the batch's, not its norm: the paper's Lemma 1 leaves the angle out.

Left open by the paper and decided here as the authors' code does: sampling is without replacement;
the first epoch trains whole batches; the mean is over the visits of a sample; s_max rises by epoch.
Decided otherwise: samples that were never trained get the largest score of their batch (there 1.0,
which exceeds every real score), equal scores give equal chances (there 0/0), and a score that is
not finite is not entered.

Without replacement the chances of inclusion are flatter than Eq. 9: with α = 0.5 and s_max/s_min =
5 they lie about within a factor of 3.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ausam_core.batch import number_kept
from ausam_core.errors import AusamError
from ausam_core.methods.method import StepResult
from ausam_core.scores import Scores
from ausam_core.selection.selection import ScoredSelection, check_share, check_share_of_batch


def inclusion_weights(scores: Tensor, s_min: float, s_max: float) -> Tensor:
    """Min–max normalisation of the scores of one batch to [s_min, s_max] (AUSAM, Eq. 10).

    Divided by their sum these are the probabilities of Eq. 9.

    Args:
        scores: ``[K]``, NaN for samples without a score.
        s_min, s_max: 0 < s_min ≤ s_max.

    Returns:
        ``[K]``, fp32; all equal where the scores are.
    """
    known = ~scores.isnan()
    low = torch.where(known, scores, torch.inf).min()
    high = torch.where(known, scores, -torch.inf).max()
    spread = high - low
    if not 0 < spread < torch.inf:
        return torch.full_like(scores, s_max)
    return s_min + (torch.where(known, scores, high) - low) / spread * (s_max - s_min)


def draw_without_replacement(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` of K positions, one after the other in proportion to the weights of those
    left.

    Positions with the smallest ``Exp(1)/weight`` have that law (the race that ``torch.multinomial``
    runs too); K numbers are taken from the generator in every case, so that the next batch's draw
    does not depend on this one's weights.

    Args:
        weights: ``[K]``, positive.

    Returns:
        ``[count]``, int64, ascending.
    """
    arrival = torch.empty_like(weights).exponential_(generator=generator) / weights
    return arrival.topk(count, largest=False, sorted=False).indices.sort().values


class GradientNormSelection(ScoredSelection):
    """AUSAM (``estimate="mean"``, Eq. 8) and AUSAM-1 (``estimate="latest"``, Eq. 7).

    Args:
        num_samples: size n of the data set.
        alpha: share α of each batch that is trained, in (0, 1]; ⌊αK⌋ samples, but at least 2.
        s_min, s_max: bounds of Eq. 10; only their ratio matters. 0 < s_min ≤ s_max.
        start_epoch: E_start: s_max rises linearly from s_min in epoch 0 to its value in this epoch.
            The authors' code takes 30 of 200 epochs; for shorter runs take 15 %.
        estimate: ``"mean"`` or ``"latest"``.

    Raises:
        AusamError: for values outside these ranges.
    """

    needs_losses = needs_difference = True

    def __init__(
        self,
        num_samples: int,
        alpha: float = 0.5,
        s_min: float = 0.1,
        s_max: float = 1.0,
        start_epoch: int = 30,
        estimate: Literal["mean", "latest"] = "mean",
    ) -> None:
        self.alpha = check_share(alpha)
        if not 0 < s_min <= s_max:
            raise AusamError(
                f"s_min must be above 0 and at most s_max, found s_min={s_min}, s_max={s_max}"
            )
        if start_epoch < 0:
            raise AusamError(f"start_epoch must be 0 or more, found {start_epoch}")
        self.s_min, self.s_max, self.start_epoch = float(s_min), float(s_max), start_epoch
        self.scores = Scores(num_samples, estimate)

    def s_max_at(self, epoch: int) -> float:
        """s_max in an epoch: linear from s_min to its full value at ``start_epoch``."""
        if epoch >= self.start_epoch:
            return self.s_max
        return self.s_min + (self.s_max - self.s_min) * epoch / self.start_epoch

    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        size = indices.numel()
        count = size if epoch == 0 else number_kept(self.alpha, size)
        weights = inclusion_weights(self.scores.of(indices), self.s_min, self.s_max_at(epoch))
        return draw_without_replacement(weights, count, generator)

    def check_batch_size(self, batch_size: int) -> None:
        check_share_of_batch(self.alpha, batch_size)

    def record(self, indices: list[int], result: StepResult) -> None:
        difference = result.difference
        if difference is None:
            if result.perturbs and result.before is not None:
                return  # a method that perturbs now and then, and not in this step
            raise AusamError(
                "GradientNormSelection learns from the loss of each sample before and after a "
                "perturbation, and this step gave none; use a SAM method and return the loss of "
                "each sample, shape [N]"
            )
        self.scores.record(indices, difference)

    def settings(self) -> dict[str, Any]:
        return {
            "selection": "gradient_norm",
            "alpha": self.alpha,
            "s_min": self.s_min,
            "s_max": self.s_max,
            "start_epoch": self.start_epoch,
        }
