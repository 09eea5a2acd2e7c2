"""The hook that joins a method and a selection in an MMEngine run.

One line turns an MMEngine project into AUSAM::

    custom_hooks = [dict(type='AUSAMHook', rho=0.05, alpha=0.5)]

It changes the project's own optimizer wrapper in place and drops samples from the loaded batches,
as the paper writes it. With a ``SelectiveBatchSampler`` in ``train_dataloader`` they are not loaded
in the first place, which is the faster form; the draws are the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ausam_core.batch import Batch
from ausam_core.batch_parts import batch_length
from ausam_core.errors import AusamError
from ausam_core.mmengine.batch_sampler import SelectiveBatchSampler
from ausam_core.mmengine.build import build_selection, check_method
from ausam_core.mmengine.checks import (
    check_alone,
    check_batch_is_not_mixed,
    check_conflicts,
    check_dataset,
    check_loop,
    check_runner,
    check_schedule,
    nominal_batch_size,
)
from ausam_core.mmengine.choice import BeforeLoading, Choice, InTheLoop
from ausam_core.mmengine.epochs import Epochs
from ausam_core.mmengine.exact_resume import ExactResumeHook
from ausam_core.mmengine.exchange import Exchange
from ausam_core.mmengine.optim_wrapper import SAMOptimWrapper, promote
from ausam_core.mmengine.requested import let_batches_tell
from ausam_core.schedule import check_start
from ausam_core.selection import AllSamples, Selection
from ausam_core.step_result import StepResult

KEY = "ausam"
"""Where a checkpoint holds the state of the selection."""


@HOOKS.register_module()
class AUSAMHook(Hook):
    """Runs AUSAM, or any method with any selection, in an MMEngine project.

    What is already in the config is used: a ``SAMOptimWrapper`` brings its method, a
    ``SelectiveBatchSampler`` its selection. What is not there the hook brings itself, from the
    arguments below.

    Args:
        rho: radius ρ of SAM, 0.05 by default.
        alpha: share α of each batch that is trained, 0.5 by default; 1 is SAM.
        s_min, s_max, start_epoch, estimate: see :class:`~ausam_core.GradientNormSelection`.
        start: share of the run, in [0, 1), in which the base optimizer trains whole batches; method
            and selection, wherever configured, begin with the first epoch after it, and with the
            last at the latest. In a run of one epoch the method begins within it, and no selection.
        method: config of another method than SAM, instead of ``rho``.
        selection: config of another selection (or a selection), instead of ``alpha`` and the rest.
        loss_modules: names of the modules that compute the loss of each sample, where the hook
            brings the method and finding them is not good enough.
        exact_resume: bring an :class:`~ausam_core.mmengine.ExactResumeHook`, so that a resumed run
            by epochs equals one that never stopped.

    Raises:
        AusamError: at the start of the run, for whatever cannot be supported, by name.
    """

    priority = "NORMAL"

    def __init__(
        self,
        rho: float | None = None,
        alpha: float | None = None,
        s_min: float | None = None,
        s_max: float | None = None,
        start_epoch: int | None = None,
        estimate: str | None = None,
        *,
        start: float | None = None,
        method: Mapping[str, Any] | None = None,
        selection: Mapping[str, Any] | Selection | None = None,
        loss_modules: Sequence[str] | None = None,
        exact_resume: bool = True,
    ) -> None:
        if rho is not None and method is not None:
            raise AusamError("AUSAMHook got both rho and method; put rho into the method")
        settings = dict(
            alpha=alpha, s_min=s_min, s_max=s_max, start_epoch=start_epoch, estimate=estimate
        )
        self._given = {k: v for k, v in settings.items() if v is not None}
        if self._given and selection is not None:
            raise AusamError(
                f"AUSAMHook got both selection and {', '.join(self._given)}; put them into the "
                "selection"
            )
        if start is not None:
            check_start(start)
        if rho is not None:
            method = dict(type="SAM", rho=rho)
        self._method, self._selection, self._start = method, selection, start
        self._loss_modules, self._exact_resume = loss_modules, exact_resume
        self._wrapper: SAMOptimWrapper | None = None
        self._choice: Choice | None = None
        self._epochs: Epochs | None = None
        self._exchange = Exchange()
        self._active = False
        self._warned = self._checked = False
        self._logger = LoggerHook(50)
        self._last_time = 0.0
        self._images = self._trained = 0
        # Built early, so that a wrong setting stops the run before anything is made.
        build_selection(self._selection_config(), num_samples=1)
        if method is not None:
            check_method(method)

    @property
    def choice(self) -> Choice:
        """Where samples are chosen, and by which selection; once the run has begun."""
        assert self._choice is not None, "the run has not begun"
        return self._choice

    @property
    def epochs(self) -> Epochs:
        """The epochs of the run; once it has begun."""
        assert self._epochs is not None, "the run has not begun"
        return self._epochs

    @property
    def batch(self) -> Batch | None:
        """The present batch as it was planned; None where nothing is chosen."""
        return self._exchange.batch

    def before_run(self, runner: Runner) -> None:
        """Meet the run: check it, and join wrapper and selection."""
        check_runner(runner)
        if runner.optim_wrapper is None or isinstance(runner.optim_wrapper, dict):
            return  # a validation or a test: nothing will be trained
        check_alone(runner.hooks, self)
        loader = runner.train_loop.dataloader
        check_dataset(loader.dataset)
        sampler = loader.batch_sampler
        own_wrapper = isinstance(runner.optim_wrapper, SAMOptimWrapper)
        own_sampler = isinstance(sampler, SelectiveBatchSampler)
        given = [*self._given, *(["selection"] if self._selection else [])]
        brings = [
            n for n, v in (("method", self._method), ("loss_modules", self._loss_modules)) if v
        ]
        check_conflicts(own_wrapper, brings, own_sampler, given)
        if not own_wrapper:
            method = self._method or dict(type="SAM", rho=0.05)
            promote(runner.optim_wrapper, method, self._loss_modules)
        self._wrapper = runner.optim_wrapper
        if isinstance(sampler, SelectiveBatchSampler):
            sampler.attend()
            self._choice = BeforeLoading(sampler)
        else:
            self._choice = self._choice_in_the_loop(loader)
        selection = self._choice.selection
        self._active = own_sampler or not isinstance(selection, AllSamples)
        check_loop(runner.train_loop, own_sampler, selection)
        self._epochs = Epochs(runner.train_loop)
        if self._active:
            check_schedule(runner.param_schedulers, selection)
            let_batches_tell(loader)
            self._epochs.restart()
            if self._start is not None:
                selection.start = self._start
            selection.begin_run(self.epochs.number)
        self._exchange = Exchange(
            wants_losses=self._active and selection.needs_losses,
            wants_errors=self._active and getattr(selection, "needs_errors", False),
            epochs=self.epochs.number if self._active or self._start is not None else None,
            start=self._start,
        )
        self._wrapper.exchange_with(self._exchange)
        self._logger = next((h for h in runner.hooks if isinstance(h, LoggerHook)), LoggerHook(50))
        if self._exact_resume and not any(isinstance(h, ExactResumeHook) for h in runner.hooks):
            # After this hook, so that the call that is under way reaches it.
            runner.register_hook(ExactResumeHook())

    def before_train_epoch(self, runner: Runner) -> None:
        if self._active:
            if self.choice.selection.needs_losses:
                # Each epoch: hooks of others switch pipelines in the middle of a run.
                check_batch_is_not_mixed(runner.model, runner.train_loop.dataloader.dataset)
            self.choice.begin_epoch(self.epochs.present)
        self._last_time = time.perf_counter()
        self._images = self._trained = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._active:
            if self.epochs.by_iterations:
                self.choice.begin_iteration(runner.iter)
            self._exchange.batch = self.choice.choose(data_batch)
            assert self._wrapper is not None
            self._wrapper.method.meet(self._exchange.batch)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        assert self._wrapper is not None and self._exchange.result is not None
        result, batch = self._exchange.result, self._exchange.batch
        if batch is not None:
            if not self._is_blind(runner, result):
                self.choice.learn(batch, result)
            self._images, self._trained = self._images + batch.size, self._trained + len(batch)
        else:
            size = batch_length(data_batch) or 0
            self._images, self._trained = self._images + size, self._trained + size
        # On the CPU looking costs nothing; on a device it is done where the log waits anyway.
        logs = self._is_logged(runner, batch_idx)
        if logs or (result.finite.device.type == "cpu" and not result.finite):
            self._wrapper.method.check()
        if logs or not self._checked:
            self._checked = self._wrapper.check_losses()
        if logs:
            self._log(runner)
        if self.epochs.ends_unseen:
            self._end_epoch()
            if self._active:
                self.choice.begin_epoch(self.epochs.present + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        self._end_epoch()

    def _end_epoch(self) -> None:
        """Before CheckpointHook saves: an epoch that cannot go on must not be saved as good."""
        assert self._wrapper is not None
        self._wrapper.method.check()
        self._wrapper.method.end_epoch()
        if self._active:
            self.choice.end_epoch()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = {}
        if self._active:
            checkpoint[KEY] = {
                "selection": self.choice.selection.state_dict(),
                "seed": self.choice.seed,
            }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not (runner._resume and self._active):
            return
        state = checkpoint.get(KEY)
        if not state:
            print_log(
                "The checkpoint was not written with AUSAMHook: scores start empty.",
                logger="current",
                level=logging.WARNING,
            )
            return
        self.choice.selection.load_state_dict(state["selection"])
        self.choice.seed = state["seed"]

    def _choice_in_the_loop(self, loader: Any) -> InTheLoop:
        chosen = build_selection(self._selection_config(), len(loader.dataset))
        chosen.check_batch_size(nominal_batch_size(loader))
        inner = getattr(loader.batch_sampler, "sampler", None)
        return InTheLoop(chosen, getattr(inner, "seed", None) or 0)

    def _is_blind(self, runner: Runner, result: StepResult) -> bool:
        """Whether nothing can be learned from this model; said once."""
        if result.before is not None or not self.choice.selection.needs_losses:
            return False
        if not self._warned:
            self._warned = True
            print_log(
                f"AUSAM cannot see the loss of each sample: {type(runner.model).__name__} returns "
                "no vector of losses and has no module whose losses could be recorded. Samples are "
                "drawn UNIFORMLY: that is SAM+Random, not AUSAM. Register a handler with "
                "ausam_core.register_per_sample_loss or name loss_modules.",
                logger="current",
                level=logging.WARNING,
            )
        return True

    def _selection_config(self) -> Mapping[str, Any] | Selection:
        if self._selection is not None:
            return self._selection
        if self._given.get("alpha") == 1:
            return dict(type="AllSamples")
        return dict(type="GradientNormSelection", **self._given)

    def _is_logged(self, runner: Runner, batch_idx: int) -> bool:
        """Whether LoggerHook writes at this iteration."""
        interval, batches = self._logger.interval, len(runner.train_loop.dataloader)
        last = batch_idx + 1 == batches and (not self._logger.ignore_last or batches <= interval)
        return last or self.every_n_inner_iters(batch_idx, interval)

    def _log(self, runner: Runner) -> None:
        """Few scalars, at the iterations at which LoggerHook reads its own."""
        assert self._wrapper is not None and self._exchange.result is not None
        now, hub = time.perf_counter(), runner.message_hub
        seconds, self._last_time = now - self._last_time, now
        result, selection = self._exchange.result, self.choice.selection
        if result.grad_norm is not None:
            hub.update_scalar("train/sam_grad_norm", result.grad_norm)
        if self._images:
            hub.update_scalar("train/images_per_s", self._images / seconds)
            hub.update_scalar("train/trained_per_s", self._trained / seconds)
            hub.update_scalar("train/share_trained", self._trained / self._images)
        if result.difference is not None:
            hub.update_scalar("train/difference", result.difference.nanmean())
        epoch = self.epochs.present
        if hasattr(selection, "s_max_at") and epoch >= selection.first_epoch:
            hub.update_scalar("train/s_max", selection.s_max_at(epoch))
        skipped = self._wrapper.method.skipping.read()[0]
        if skipped:
            hub.update_scalar("train/skipped", skipped)
        self._images = self._trained = 0
