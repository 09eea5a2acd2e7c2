"""What every method has in common: one batch becomes one update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core import gradients
from ausam_core.accumulation import Accumulation
from ausam_core.batch import Batch
from ausam_core.batch_norm import RunningStatistics
from ausam_core.errors import AusamError
from ausam_core.gradients import Gradients
from ausam_core.losses import ForwardRecord
from ausam_core.methods.checks import check_model, check_optimizer, check_parameters
from ausam_core.optimizer_step import OptimizerStep
from ausam_core.passes import Backward, Closure, ClosurePasses, Passes
from ausam_core.perturbation import forget_casts
from ausam_core.random_state import capture_random_state, restore_random_state
from ausam_core.ranks import data_parallel_wrapper, group_of, local, number_of_ranks, reshard
from ausam_core.schedule import Start
from ausam_core.step_result import Cost, StepResult


class Method(ABC):
    """How a batch becomes an update.

    A subclass implements :meth:`gradient`; everything about the optimizer, and about gradients of
    other batches, is here.

    Args:
        optimizer: the base optimizer (SGD, Adam, …), already built over the parameters; may be
            wrapped (Accelerate, Lightning, ZeRO).
        model: the model; may be wrapped in DistributedDataParallel or compiled, now or later, or
            sharded by ``fully_shard``.
        scaler: a ``torch.amp.GradScaler`` for fp16, or None. The method scales, unscales, steps and
            updates.
        clip_grad_norm: clip the gradient that the optimizer sees to this norm, or None.
        max_skips: see :class:`~ausam_core.skipping.SkipNonFinite`.
        process_group: the ranks that train this model; by default DDP's, else all of
            ``torch.distributed``. A rank that trains a model of its own gives a group of its own.
        start: share of the run, in [0, 1), that is left to the base optimizer; the method begins
            with the first epoch after it. Needs :meth:`begin_run`.

    Raises:
        AusamError: for what cannot be trained: an optimizer that wants a closure, complex or lazy
            parameters, FSDP's first generation.
    """

    #: Whether pass 1 keeps its gradient on its rank, for methods that can (see SAM's ``perturb``).
    local_first_pass: bool = False
    #: Whether pass 2 gets the random numbers of pass 1.
    replay_random_state: bool = False
    #: Whether the method itself needs the loss of each sample, whatever the selection needs.
    needs_losses = False
    #: Whether the method perturbs weights; a selection that learns from the perturbation needs it.
    perturbs = True

    def __init__(
        self,
        optimizer: Any,
        model: nn.Module,
        *,
        scaler: torch.amp.GradScaler | None = None,
        clip_grad_norm: float | None = None,
        max_skips: int = 20,
        process_group: Any = None,
        start: float = 0.0,
    ) -> None:
        check_optimizer(optimizer)
        check_model(model)
        check_parameters(optimizer)
        self.optimizer, self.model = optimizer, model
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._start = Start(start)
        self.optimizer_step = OptimizerStep(optimizer, self.scaler, clip_grad_norm, max_skips)
        self.skipping = self.optimizer_step.skipping
        self.statistics = RunningStatistics(model)
        self.cost = Cost()
        #: Updates of the run so far, skipped ones too.
        self.updates = 0
        self._process_group = process_group
        self._checked: list[nn.Parameter] = self.parameters()
        self._skipped_before = 0
        self.accumulated = Accumulation()
        #: Whether a batch is being worked on, after the forward of pass 1.
        self.running = False

    @property
    def process_group(self) -> Any:
        """The ranks that share the model; None is the default group."""
        return group_of(self.model) if self._process_group is None else self._process_group

    @property
    def start(self) -> float:
        """Share of the run that is left to the base optimizer."""
        return self._start.share

    @property
    def waits(self) -> bool:
        """Whether the base optimizer still trains alone, because ``start`` is not reached."""
        return self._start.is_ahead(self.updates)

    @property
    def first_update(self) -> int:
        """How many updates the base optimizer makes alone, if the run makes as many as it said."""
        return self._start.first_update or 0

    @property
    def first_pass_is_local(self) -> bool:
        """Whether the gradient of pass 1 is to stay on its rank, of several."""
        several = self.local_first_pass and number_of_ranks(self.process_group) > 1
        return several and not self.waits

    @property
    def one_pass(self) -> bool:
        """Whether the step at hand ends with pass 1, or may: a method can find out within it."""
        return not self.perturbs

    @property
    def first_pass_may_be_last(self) -> bool:
        """Whether the gradient of pass 1 may become that of the update."""
        return self.waits or self.one_pass

    @property
    def looks_first(self) -> bool:
        """Whether the first forward pass of a step is only looked at, and needs no graph."""
        return False

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of the optimizer, in its order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def begin_run(self, epochs: int, steps: int) -> None:
        """Learn how long the run is; what is a share of it, or counts its steps, is set now.

        Args:
            epochs: number of epochs.
            steps: number of updates in all of them.
        """
        self._start.begin_run(epochs, steps)

    @abstractmethod
    def gradient(self, passes: Passes) -> StepResult:
        """Leave the gradient of this batch in ``.grad``, and the weights as they were.

        ``.grad`` is empty when it is called; what other batches accumulated is the base class's
        business, also when a pass raises.
        """

    def prepare(self) -> None:
        """Called before the forward of pass 1, for methods that change something for its sake."""

    def first_samples(self, size: int | None) -> Tensor | None:
        """Positions of the samples that pass 1 uses, ``[N']``, or None for all of them.

        Args:
            size: N, the samples of the batch; None where nobody told.
        """
        return None

    def abandon(self) -> None:
        """Undo what :meth:`prepare` and the passes changed in the model, after an exception."""

    def step(
        self, closure: Closure, *, batch: Batch | None = None, backward: Backward | None = None
    ) -> StepResult:
        """One update from one batch.

        Args:
            closure: runs the forward pass and returns the loss of each sample, shape ``[N]``. It is
                called once or more, with the same batch; it calls neither ``backward`` nor
                ``zero_grad``.
            batch: the batch as it was planned, from ``sampler.over(loader)``; for methods and
                selections that deal with single samples.
            backward: differentiates a scalar loss where a framework wants to do it
                (``accelerator.backward``, Lightning's ``manual_backward``).

        Raises:
            AusamError: if the parameters have gradients that this method did not compute.
        """
        if self.accumulated.batches == 0:
            gradients.refuse_foreign(self.parameters())
        result = self.accumulate(closure, batch=batch, backward=backward)
        self.update()
        return result

    def accumulate(
        self,
        closure: Closure,
        *,
        batch: Batch | None = None,
        factor: float = 1.0,
        backward: Backward | None = None,
    ) -> StepResult:
        """Add the gradient of one batch, for :meth:`update` to apply.

        With ``factor=1/k`` and one update after k batches: gradient accumulation. Each batch is
        perturbed by its own gradient (m-sharpness). Under DDP all but the last may be wrapped in
        ``no_sync()``, in which each rank climbs by its own gradient; the update is averaged.
        """
        self.meet(batch)
        return self.run(lambda: ClosurePasses(self, closure, batch, factor, backward), fresh=True)

    def meet(self, batch: Batch | None) -> None:
        """Learn which batch comes next, as it was planned; its epoch tells when ``start`` is over.

        :meth:`accumulate` and :meth:`step` do it; a framework that runs pass 1 itself calls it.
        """
        self._start.meet(batch)

    def run(self, make_passes: Callable[[], Passes], fresh: bool = False) -> StepResult:
        """Add the gradient of one batch; the one owner of ``.grad``.

        Args:
            make_passes: gives the passes over the batch, once ``.grad`` is empty.
            fresh: whether pass 1 is still to be run, so that :meth:`prepare` is still to be called.
        """
        held = gradients.take(self.parameters())
        self.running = True
        try:
            self._follow_parameters()
            passes = make_passes()
            if fresh:
                self.get_ready()
            result = self.plain_gradient(passes) if self.waits else self.gradient(passes)
        except BaseException:
            self.abandon()
            gradients.put(self.parameters(), held)
            raise
        finally:
            self.running = False
        gradients.add(held)
        averaged = passes.averaged or data_parallel_wrapper(self.model) is None
        self.accumulated.add(result.finite, averaged)
        return result

    def get_ready(self) -> None:
        """Before the forward of pass 1."""
        if not self.statistics.has_kept:
            self.statistics.keep()  # the first batch may be a bad one
        if not self.waits:
            self.statistics.watch()
            self.prepare()

    def update(self) -> None:
        """Apply the accumulated gradient, or skip where it is not finite, and clear it.

        Raises:
            AusamError: if no gradient was accumulated.
        """
        if self.accumulated.finite is None:
            raise AusamError(
                "update() was called before any accumulate(); there is no gradient to apply"
            )
        finite = self.ready_to_apply()
        self.apply(finite, lambda: self.optimizer_step.clip_and_step(self.parameters()))
        self.optimizer.zero_grad()
        # A wrapped optimizer may go on accumulating: it neither stepped nor cleared.
        self.accumulated.batches = int(any(p.grad is not None for p in self.parameters()))

    def ready_to_apply(self) -> Tensor:
        """Make what was accumulated the gradient of all ranks; whether it is finite, 0-dim bool."""
        scaled = self.optimizer_step.scaler_in_use() is not None
        return self.accumulated.settle(self.parameters(), self.process_group, scaled)

    def apply(self, finite: Tensor, step: Callable[[], object]) -> None:
        """Step, or skip where the gradient is not finite.

        Args:
            finite: of all ranks, 0-dim bool.
            step: clips and steps.
        """
        self.updates += 1
        self.accumulated.clear()
        reshard(self.model, self.parameters())
        self.optimizer_step.apply(finite, step)
        forget_casts()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs.

        That is the base optimizer, the scaler, the random state (torch's, Python's, NumPy's) and
        :meth:`run_state`. Tensors and plain values only: it loads with ``torch.load(...,
        weights_only=True)``.
        """
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "random_state": capture_random_state(),
            **self.run_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, random state included.

        Raises:
            AusamError: for the state of another method; nothing is taken over then.
        """
        self._check_kind(state)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random_state"])
        self.load_run_state(state)

    def run_state(self) -> dict[str, Any]:
        """What the method itself remembers: its own state, counts and cost.

        Tensors that belong to a parameter are sharded as it is, so that
        ``torch.distributed.checkpoint`` can load them on another number of ranks.
        """
        return {
            "kind": type(self).__name__,
            "skipping": self.skipping.state_dict(),
            "progress": [self.updates, self.cost.forward, self.cost.backward],
            "method": self.method_state(),
        }

    def load_run_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`run_state` gave.

        Raises:
            AusamError: for the state of another method; nothing is taken over then.
        """
        self._check_kind(state)
        self.skipping.load_state_dict(state["skipping"])
        self._skipped_before = self.skipping.read()[0]
        self.updates, self.cost.forward, self.cost.backward = state["progress"]
        self.load_method_state(state["method"])

    def check(self) -> int:
        """See to updates that were skipped; call it where the log is written.

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
        if self.optimizer_step.scaler_in_use() is not None:
            gradients.poison(self.parameters(), finite)
        return StepResult(
            loss=first.total.detach(),
            before=None if first.per_sample is None else first.per_sample.detach(),
            after=None
            if second is None or second.per_sample is None
            else second.per_sample.detach(),
            grad_norm=grad_norm,
            finite=finite,
            perturbs=self.perturbs,
            weighted=passes.batch is not None and passes.batch.weights is not None,
            error=_detached(first.error),
        )

    def local_gradients(self) -> Gradients:
        """The parameters with a gradient, and the part of it that this rank holds."""
        return [(p, local(p.grad)) for p in self.parameters() if p.grad is not None]

    def finite_gradient(self, like: Tensor) -> Tensor:
        """Whether this batch's gradient is finite, 0-dim bool on the device of ``like``.

        It is not where a loss was not, see :meth:`Passes.backward <ausam_core.passes.Passes>`.
        """
        return gradients.are_finite(self.parameters(), like)

    def plain_gradient(self, passes: Passes) -> StepResult:
        """What the base optimizer does: one forward and one backward pass."""
        first = passes.forward()
        passes.backward(first)
        return self.result(passes, first, None, None, self.finite_gradient(first.total))

    def _check_kind(self, state: dict[str, Any]) -> None:
        own, saved = type(self).__name__, state.get("kind", type(self).__name__)
        if saved != own:
            raise AusamError(
                f"the saved state is of {saved}, and the method is {own}; resume with {saved}, or "
                "start a new run from the weights alone"
            )

    def _follow_parameters(self) -> None:
        """Check parameters again where they are not those that were checked."""
        parameters = self.parameters()
        known = self._checked
        if len(known) != len(parameters) or any(map(_differ, known, parameters)):
            check_parameters(self.optimizer)
            check_model(self.model)
            self._checked = parameters


def _detached(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.detach()


def _differ(a: object, b: object) -> bool:
    return a is not b
