"""The step of the base optimizer, where the gradient is finite, through whatever scales or wraps
it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core import gradients
from ausam_core.errors import AusamError, as_number
from ausam_core.late_momentum import begin_late_momentum
from ausam_core.skipping import SkipNonFinite
from ausam_core.wrappers import scaler_within


class OptimizerStep:
    """Steps an optimizer, or skips.

    Args:
        optimizer: bare or wrapped.
        scaler: a loss scaler to step through, or None.
        clip_grad_norm: clip to this norm before the step, or None.
        max_skips: see :class:`~ausam_core.skipping.SkipNonFinite`.
    """

    def __init__(
        self,
        optimizer: Any,
        scaler: torch.amp.GradScaler | None,
        clip_grad_norm: float | None,
        max_skips: int,
    ) -> None:
        if clip_grad_norm is not None and not as_number("clip_grad_norm", clip_grad_norm) > 0:
            raise AusamError(
                f"clip_grad_norm is the largest norm a gradient may have, above 0; found "
                f"{clip_grad_norm}"
            )
        self.optimizer, self.scaler, self.clip_grad_norm = optimizer, scaler, clip_grad_norm
        self.skipping = SkipNonFinite(max_skips)

    def scaler_in_use(self) -> Any:
        """The loss scaler through which the optimizer steps: ours, or one within a wrapper."""
        return self.scaler if self.scaler is not None else scaler_within(self.optimizer)

    def apply(self, finite: Tensor, step: Callable[[], object]) -> None:
        """Call ``step`` unless ``finite`` is False; with a scaler the gradient is NaN then."""
        if self.scaler_in_use() is None:
            self.skipping.step(self.optimizer, finite, step)
            return
        self.skipping.count(finite)  # the scaler skips by itself, and backs off
        if self.scaler is None:  # a wrapper's, which decides within
            begin_late_momentum(self.optimizer)
            step()
            return
        if not self.skipping.must_read(self.optimizer):
            step()
            return
        # GradScaler too lets a fused optimizer make its state in a step that is skipped.
        if bool(finite):
            begin_late_momentum(self.optimizer)
            step()
            self.skipping.updated(self.optimizer)
        else:
            self.scaler.unscale_(self.optimizer)
            self.scaler.update()

    def clip_and_step(self, parameters: list[nn.Parameter]) -> None:
        """What :meth:`apply` calls in a plain loop."""
        if self.clip_grad_norm is not None:
            self._clip(parameters, self.clip_grad_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def _clip(self, parameters: list[nn.Parameter], max_norm: float) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        elif self.scaler_in_use() is not None:
            raise AusamError(
                "clip_grad_norm cannot work on gradients that a wrapped optimizer will unscale; "
                "clip with the framework that scales, between accumulate() and update()"
            )
        gradients.clip(parameters, max_norm)
