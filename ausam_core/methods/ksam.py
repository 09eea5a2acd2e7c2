"""K-SAM: look at the whole batch once, then do both passes with its hardest samples.

Ni et al., "K-SAM: Sharpness-Aware Minimization at the Speed of SGD" (2022): a forward pass gives
the loss of each sample of the batch, and only the k largest give the gradients of pass 1 and of
pass 2. So the choice is never out of date, as one by earlier epochs is (AUSAM), and is paid for: by
a forward pass of the whole batch, which also has to be loaded.

The paper names k; here it is a share of the batch, ``k = ⌊γK⌋``. Each of several ranks chooses in
its own batch, so that they train other samples than one process would. Running statistics move by
the whole batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.batch import number_kept
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord
from ausam_core.methods.sam import SAM
from ausam_core.passes import Passes
from ausam_core.step_result import StepResult


class KSAM(SAM):
    """SAM on the samples of a batch that have the largest loss right now.

    The closure must take positions, ``def closure(subset=slice(None))``, and its loss must be one
    of each sample.

    Args:
        optimizer, model, rho: see :class:`~ausam_core.SAM`.
        gamma: share γ of the batch that is trained, in (0, 1]. A step costs ⅓ + 2γ: with ⅓ what the
            base optimizer's costs. 1 is SAM, which does without the first look.
        **kwargs: see :class:`~ausam_core.SAM`.
    """

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        rho: float = 0.05,
        gamma: float = 1 / 3,
        **kwargs: Any,
    ) -> None:
        if not 0 < gamma <= 1:
            raise AusamError(f"gamma is a share of the batch, in (0, 1]; found {gamma}")
        super().__init__(optimizer, model, rho, **kwargs)
        if self.ascent < 1:
            raise AusamError("K-SAM chooses the samples of both passes; use ascent=1")
        self.gamma, self.needs_losses = gamma, gamma < 1
        self._kept: Tensor | None = None

    @property
    def looks_first(self) -> bool:
        return self.gamma < 1 and not self.waits

    def keep(self, losses: Tensor) -> Tensor:
        """Positions of the samples that are trained, ``[⌊γK⌋]``, rising.

        Args:
            losses: of all samples at w, ``[K]``, detached.
        """
        count = number_kept(self.gamma, len(losses))
        return losses.topk(count, sorted=False).indices.sort().values

    def gradient(self, passes: Passes) -> StepResult:
        if self.gamma == 1:
            return super().gradient(passes)
        with torch.no_grad():
            whole = passes.forward()
        if whole.per_sample is None:
            raise AusamError(
                "K-SAM keeps the samples with the largest loss, but the loss is already reduced to "
                "a scalar; return the loss of each sample, shape [N], or set gamma=1"
            )
        losses = whole.per_sample.detach()
        self._kept = kept = self.keep(losses)
        # Around backward too: it may need buffers as the forward found them, or run it again.
        with self.statistics.frozen():
            part = passes.forward(kept)
            passes.backward(part)
        climb, second, _ = self.second_pass(passes)
        # Losses before and after are those of the passes that perturb, which only some samples saw.
        first = replace(whole, per_sample=_spread(losses, part, kept))
        unseen = losses.new_full(losses.shape, torch.nan)
        second = replace(second, per_sample=_spread(unseen, second, kept))
        return self.perturbed_result(passes, first, second, climb)

    def descend(self, passes: Passes) -> ForwardRecord:
        second = passes.forward(self._kept)
        passes.backward(second)
        return second


def _spread(values: Tensor, record: ForwardRecord, kept: Tensor) -> Tensor:
    """``values`` with the losses of a pass over a part of the batch in their places."""
    assert record.per_sample is not None
    return values.index_copy(0, kept, record.per_sample.detach().to(values.dtype))
