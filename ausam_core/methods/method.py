"""What every method has in common: one batch becomes one update."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.batch import Batch
from ausam_core.batch_norm import RunningStatistics
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord, loss_difference
from ausam_core.passes import ClosurePasses, Passes
from ausam_core.perturbation import global_norm
from ausam_core.random_state import RandomState
from ausam_core.skipping import SkipNonFinite


@dataclass
class StepResult:
    """What a step leaves behind; where a method meets a selection. All tensors are detached and on
    the device.

    Attributes:
        loss: the loss of pass 1, 0-dim.
        before: the loss of each trained sample at w, ``[N]``, or None.
        after: the loss of each trained sample at w + ε, ``[N]``, or None.
        grad_norm: norm of the gradient of pass 1 over the perturbed parameters, 0-dim, without loss
            scale, or None.
        finite: whether everything in the step was finite, 0-dim bool.
        perturbs: whether the method perturbs the weights, be it not in this step.
        weighted: whether the weights of a planned batch were used.
    """

    loss: Tensor
    before: Tensor | None
    after: Tensor | None
    grad_norm: Tensor | None
    finite: Tensor
    perturbs: bool = True
    weighted: bool = False

    @property
    def difference(self) -> Tensor | None:
        """``d_i = |ℓ_i(w+ε) − ℓ_i(w)|``, ``[N]`` (AUSAM, Eq. 6), or None."""
        return loss_difference(self.before, self.after)


class Method(ABC):
    """How a batch becomes an update.

    A subclass implements :meth:`gradient`; everything about the optimizer is here.

    Args:
        optimizer: the base optimizer (SGD, Adam, …), already built over the parameters.
        model: the model; may be wrapped in DistributedDataParallel.
        scaler: a ``torch.amp.GradScaler`` for fp16, or None. The method scales, unscales, steps and
            updates.
        clip_grad_norm: clip the gradient that the optimizer sees to this norm, or None.
        max_skips: see :class:`~ausam_core.skipping.SkipNonFinite`.
    """

    #: Whether pass 1 keeps its gradient on its rank, for methods that can (see SAM's ``perturb``).
    local_first_pass = False
    #: Whether pass 2 gets the random numbers of pass 1.
    replay_random_state = False

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        *,
        scaler: torch.amp.GradScaler | None = None,
        clip_grad_norm: float | None = None,
        max_skips: int = 20,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise AusamError(
                f"a method goes around a torch optimizer, found {type(optimizer).__name__}; pass "
                "SGD(…), Adam(…) or another one that is already built"
            )
        self.optimizer, self.model = optimizer, model
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.clip_grad_norm = clip_grad_norm
        self.skipping = SkipNonFinite(max_skips)
        self.statistics = RunningStatistics(model)
        self._skipped_before = 0
        self._finite: Tensor | None = None

    #: Whether the method itself needs the loss of each sample, whatever the selection needs.
    needs_losses = False
    #: Whether the method perturbs weights; a selection that learns from the perturbation needs it.
    perturbs = True

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of the optimizer, in its order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def prepare(self) -> None:
        """Called before the forward of pass 1, for methods that change something for its sake."""

    @abstractmethod
    def gradient(self, passes: Passes) -> StepResult:
        """Add the gradient of the update to ``.grad`` and leave the weights as they were.

        A gradient that is in ``.grad`` already (accumulation) is kept and added to. The weights are
        restored also when a pass raises.
        """

    def step(
        self, closure: Callable[..., Tensor | ForwardRecord], *, batch: Batch | None = None
    ) -> StepResult:
        """One update from one batch.

        Args:
            closure: runs the forward pass and returns the loss of each sample, shape ``[N]``. It is
                called once or twice, with the same batch; it calls neither ``backward`` nor
                ``zero_grad``.
            batch: the batch as it was planned, ``sampler.current``; for methods and selections that
                deal with single samples.
        """
        result = self.accumulate(closure, batch=batch)
        self.update()
        return result

    def accumulate(
        self,
        closure: Callable[..., Tensor | ForwardRecord],
        *,
        batch: Batch | None = None,
        factor: float = 1.0,
    ) -> StepResult:
        """Add the gradient of one batch, for :meth:`update` to apply.

        With ``factor=1/k`` and one update after k batches: gradient accumulation. Each batch is
        perturbed by its own gradient (m-sharpness). Under DDP wrap all but the last in
        ``no_sync()``.
        """
        passes = ClosurePasses(
            closure,
            batch=batch,
            scaler=self.scaler,
            factor=factor,
            averaged=getattr(self.model, "require_backward_grad_sync", True),
            local_first=self._no_sync if self.local_first_pass else nullcontext,
            replay_random_state=self.replay_random_state,
        )
        self.prepare()
        result = self.gradient(passes)
        self._finite = result.finite if self._finite is None else self._finite & result.finite
        return result

    def update(self) -> None:
        """Apply the accumulated gradient, or skip where it is not finite, and clear it.

        Raises:
            AusamError: if no gradient was accumulated.
        """
        if self._finite is None:
            raise AusamError(
                "update() was called before any accumulate(); there is no gradient to apply"
            )
        if self.scaler is not None:
            self.skipping.count(self._finite)
            self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.skipping.step(self.optimizer, self._finite, self._clip_and_step)
        self.optimizer.zero_grad(set_to_none=True)
        self._finite = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs.

        That is the base optimizer, the scaler, the random state and the method's own state. Tensors
        and plain values only: it loads with ``torch.load(..., weights_only=True)``.
        """
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "random_state": RandomState.capture().state_dict(),
            "skipping": self.skipping.state_dict(),
            "method": self.method_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, random state included."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
        RandomState.from_state_dict(state["random_state"]).restore()
        self.skipping.load_state_dict(state["skipping"])
        self._skipped_before = self.skipping.read()[0]
        self.load_method_state(state["method"])

    def check(self) -> int:
        """Look after updates that were skipped; call it where the log is written.

        Waits for the device. Running statistics that a bad batch made NaN get the values that they
        had at the last call.

        Returns:
            Updates skipped so far.

        Raises:
            AusamError: if ``max_skips`` updates in a row were skipped.
        """
        skipped = self.skipping.check()
        if skipped > self._skipped_before:
            self.statistics.repair()
        else:
            self.statistics.keep()
        self._skipped_before = skipped
        return skipped

    def end_epoch(self) -> None:
        """Let the ranks exchange what they found; every rank calls it, before saving.

        Only methods that remember single samples (SAF) have something to exchange.
        """

    def method_state(self) -> dict[str, Any]:
        """What the method itself remembers between steps: tensors and plain values."""
        return {}

    def load_method_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`method_state` gave."""

    def result(
        self,
        passes: Passes,
        first: ForwardRecord,
        second: ForwardRecord | None,
        grad_norm: Tensor | None,
        finite: Tensor,
    ) -> StepResult:
        """Put what the passes gave into the result of the step, detached.

        Makes a loss scaler, which looks at the gradient alone, see what was not finite.
        """
        if self.scaler is not None:
            self.poison(finite)

        def detached(record: ForwardRecord | None) -> Tensor | None:
            return (
                None if record is None or record.per_sample is None else record.per_sample.detach()
            )

        return StepResult(
            loss=first.total.detach(),
            before=detached(first),
            after=detached(second),
            grad_norm=grad_norm,
            finite=finite,
            perturbs=self.perturbs,
            weighted=passes.batch is not None and passes.batch.weights is not None,
        )

    @torch.no_grad()
    def finite_gradient(self, loss: Tensor) -> Tensor:
        """Whether the gradient in ``.grad`` is finite, 0-dim bool on the device of ``loss``.

        It is not where a loss was not: see :func:`~ausam_core.losses.loud`.
        """
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        return global_norm(gradients).to(loss.device) < math.inf

    @torch.no_grad()
    def poison(self, finite: Tensor) -> None:
        """Make the gradient NaN where ``finite`` is False: a loss scaler then skips and backs
        off."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(torch.where(finite, 0.0, torch.nan).to(parameter.grad))
                return

    def _clip(self) -> None:
        if self.clip_grad_norm is None:
            return
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.parameters(), self.clip_grad_norm, foreach=True)

    def _clip_and_step(self) -> None:
        self._clip()
        self.optimizer.step()

    def _no_sync(self) -> Any:
        return self.model.no_sync() if hasattr(self.model, "no_sync") else nullcontext()
