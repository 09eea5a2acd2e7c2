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

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ausam_core.batch import Weights
from ausam_core.errors import AusamError, as_number
from ausam_core.scores import Scores
from ausam_core.selection.selection import ScoredSelection
from ausam_core.selection.share import (
    Share,
    draw_systematically,
    draw_without_replacement,
    inclusion_probabilities,
)
from ausam_core.step_result import StepResult


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


class GradientNormSelection(ScoredSelection):
    """AUSAM (``estimate="mean"``, Eq. 8) and AUSAM-1 (``estimate="latest"``, Eq. 7).

    Args:
        num_samples: size n of the data set.
        alpha: share α of each batch that is trained, in (0, 1]; ⌊αK⌋ samples, but at least 2.
        s_min, s_max: bounds of Eq. 10; only their ratio matters. 0 < s_min ≤ s_max.
        start_epoch: E_start: s_max rises linearly from s_min in epoch 0 to its value in this epoch,
            counted from the first epoch in which samples are chosen. The authors' code takes 30 of
            200; None is 15 % of the run.
        estimate: ``"mean"`` or ``"latest"``.
        importance: weigh each kept sample by ``N/(K·π_i)``, π_i its chance of being kept, so that
            the expected gradient is the whole batch's. Samples are then drawn systematically, with
            chances in exact proportion to Eq. 10. Off in the paper.
        multiple_of: keep a multiple of so many samples; 2 for a Mixup that pairs a batch.
        start: see :class:`~ausam_core.Selection`. A late start draws by chance alone in its first
            epoch, instead of training whole batches.

    Raises:
        AusamError: for values outside these ranges.
    """

    #: Its name in a checkpoint.
    kind = "gradient_norm"

    def __init__(
        self,
        num_samples: int,
        alpha: float = 0.5,
        s_min: float = 0.1,
        s_max: float = 1.0,
        start_epoch: int | None = None,
        estimate: Literal["mean", "latest"] = "mean",
        importance: bool = False,
        multiple_of: int = 1,
        start: float = 0.0,
    ) -> None:
        super().__init__(Scores(num_samples, estimate), start)
        self.share = Share(alpha, multiple_of)
        if not 0 < as_number("s_min", s_min) <= as_number("s_max", s_max):
            raise AusamError(
                f"s_min must be above 0 and at most s_max, found s_min={s_min}, s_max={s_max}"
            )
        if start_epoch is not None and start_epoch < 0:
            raise AusamError(f"start_epoch must be 0 or more, found {start_epoch}")
        self.s_min, self.s_max, self.start_epoch = float(s_min), float(s_max), start_epoch
        self.importance = importance
        self._chose = self._heard = self._warned = False

    def s_max_at(self, epoch: int) -> float:
        """s_max in an epoch: linear from s_min to its full value at ``start_epoch``."""
        first, rise = self.first_epoch, self.start_epoch
        if rise is None:
            rise = max(1, round(0.15 * (self.known_epochs("start_epoch=None") - first)))
        done = epoch - first
        return self.s_max if done >= rise else self.s_min + (self.s_max - self.s_min) * done / rise

    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        self._chose = True
        weights = inclusion_weights(self.scores.of(indices), self.s_min, self.s_max_at(epoch))
        count = self._count(len(indices), epoch)
        if self.importance:
            return draw_systematically(inclusion_probabilities(weights, count), generator)
        return draw_without_replacement(weights, count, generator)

    def weights(self, indices: Tensor, kept: Tensor, epoch: int) -> Weights | None:
        if not self.importance:
            return None
        weights = inclusion_weights(self.scores.of(indices), self.s_min, self.s_max_at(epoch))
        chances = inclusion_probabilities(weights, len(kept))[kept]
        return Weights((len(kept) / (len(indices) * chances)).float(), "both")

    def check_batch_size(self, batch_size: int) -> None:
        self.share.check(batch_size)

    def record(self, indices: Sequence[int], result: StepResult) -> None:
        observed = self.observed(result)
        self._heard = True
        if observed is not None:
            self.scores.record(indices, observed)

    def end_epoch(self) -> None:
        super().end_epoch()
        if self._chose and self._heard and not self._warned and self.scores.is_empty:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} chose samples for an epoch in which no step perturbed the "
                "weights and showed it a score, so it draws by chance; where the method begins "
                "late, give the selection the same start",
                stacklevel=3,
            )

    def observed(self, result: StepResult) -> Tensor | None:
        """What a step shows of its samples, ``[N]``; None where this step shows nothing.

        Raises:
            AusamError: where no step will ever show anything.
        """
        if result.difference is None and not (result.perturbs and result.before is not None):
            raise AusamError(
                "GradientNormSelection learns from the loss of each sample before and after a "
                "perturbation, and this step gave none; use a SAM method and return the loss of "
                "each sample, shape [N]"
            )
        return result.difference  # None: a method that perturbs now and then, and not in this step

    def settings(self) -> dict[str, Any]:
        return {
            "selection": self.kind,
            "alpha": self.share.alpha,
            "s_min": self.s_min,
            "s_max": self.s_max,
            "start_epoch": self.start_epoch,
            **({"importance": True} if self.importance else {}),
        }

    def _count(self, size: int, epoch: int) -> int:
        # Where nothing is known yet the paper trains whole batches; late in a run that would cost
        # what a late start saves.
        return size if epoch == 0 else self.share.of(size)
