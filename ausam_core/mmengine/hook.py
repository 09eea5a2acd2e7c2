"""The hook that joins a method and a selection in an MMEngine run.

One line turns any MMEngine project into AUSAM::

    custom_hooks = [dict(type='AUSAMHook', rho=0.05, alpha=0.5)]

It changes the project's own optimizer wrapper in place and drops samples from the loaded batches,
as the paper writes it. With a ``SelectiveBatchSampler`` in ``train_dataloader`` they are not loaded
in the first place, which is the faster form; the draws are the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ausam_core.batch_sampler import SelectiveBatchSampler
from ausam_core.errors import AusamError
from ausam_core.methods import StepResult
from ausam_core.mmengine.build import build_selection, set_epochs
from ausam_core.mmengine.checks import (
    check_batch_is_not_mixed,
    check_conflicts,
    check_loop,
    check_schedule,
    nominal_batch_size,
)
from ausam_core.mmengine.choosing import BeforeLoading, Choosing, InTheLoop
from ausam_core.mmengine.keyed_pipeline import batch_length, key_dataset
from ausam_core.mmengine.method_mixin import MethodMixin
from ausam_core.mmengine.optim_wrapper import promote
from ausam_core.mmengine.random_state import capture_random_state, restore_random_state
from ausam_core.selection import AllSamples

KEY = "ausam"
"""Where a checkpoint holds the state of the selection and all random state."""


@HOOKS.register_module()
class AUSAMHook(Hook):
    """Runs AUSAM, or any method with any selection, in an MMEngine project.

    What is already in the config is used: a ``SAMOptimWrapper`` brings its method, a
    ``SelectiveBatchSampler`` its selection. What is not there the hook brings itself, from the
    arguments below.

    Args:
        rho: radius ρ of SAM, 0.05 by default.
        alpha: share α of each batch that is trained, 0.5 by default; 1 is SAM.
        s_min, s_max, start_epoch, estimate: see :class:`~ausam_core.GradientNormSelection`;
            ``start_epoch=None`` is 15 % of the epochs.
        method: config of another method than SAM, instead of ``rho``.
        selection: config of another selection, instead of ``alpha`` and the rest.
        select: ``'batch'`` or None. Where the hook brings the selection it chooses in the loop,
            which is ``'batch'``; saying so beside a ``SelectiveBatchSampler`` is an error.
        exact_resume: make chance in the data pipeline a function of (seed, epoch, sample) and keep
            all random state in the checkpoint, so that a resumed run equals one that never stopped.

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
        method: Mapping[str, Any] | None = None,
        selection: Mapping[str, Any] | None = None,
        select: str | None = None,
        exact_resume: bool = True,
    ) -> None:
        if select not in (None, "batch"):
            raise AusamError(
                f"select must be 'batch' or left out, found {select!r}; to choose before loading "
                "put a SelectiveBatchSampler into train_dataloader.batch_sampler"
            )
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
        if rho is not None:
            method = dict(type="SAM", rho=rho)
        self._method, self._selection, self._select = method, selection, select
        self._exact_resume = exact_resume
        # (seed, epoch) of the data pipeline, where persistent workers see them move
        self._key = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._random_state: dict[str, Any] | None = None
        self._warned = False
        # Built early, so that a wrong setting stops the run before anything is made.
        build_selection(self._selection_config(), num_samples=1)

    def before_run(self, runner: Runner) -> None:
        """Meet the run: check it, and join wrapper and selection."""
        if runner.optim_wrapper is None or isinstance(runner.optim_wrapper, dict):
            return  # a validation or a test: nothing will be trained
        loader = runner.train_loop.dataloader
        sampler = loader.batch_sampler
        own_wrapper = isinstance(runner.optim_wrapper, MethodMixin)
        own_sampler = isinstance(sampler, SelectiveBatchSampler)
        given = [*self._given, *(["selection"] if self._selection else [])]
        check_conflicts(
            own_wrapper, self._method is not None, own_sampler, given, self._select is not None
        )
        if not own_wrapper:
            promote(runner.optim_wrapper, self._method or dict(type="SAM", rho=0.05))
        self._wrapper: MethodMixin = runner.optim_wrapper
        seed = getattr(sampler, "seed", None)
        self._inner_sampler = getattr(sampler, "sampler", None)
        if seed is None:
            seed = getattr(self._inner_sampler, "seed", None) or 0
        if own_sampler:
            self.choosing: Choosing = BeforeLoading(sampler)
        else:
            chosen = build_selection(self._selection_config(), len(loader.dataset))
            chosen.check_batch_size(nominal_batch_size(loader))
            self.choosing = InTheLoop(chosen, seed)
        self._active = own_sampler or not isinstance(self.choosing.selection, AllSamples)
        if self._active:
            check_loop(runner.train_loop)
            check_schedule(runner.param_schedulers, self.choosing.selection)
            self._wrapper.record_losses = self.choosing.selection.needs_losses
            if self.choosing.selection.needs_losses:
                check_batch_is_not_mixed(runner.model, loader.dataset)
        set_epochs(self.choosing.selection, runner.max_epochs)
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._exact_resume = False  # its workers started before the run, with the old pipeline
        self._key[0] = seed
        self._keyed = key_dataset(loader.dataset, self._key, self._exact_resume)
        if self._exact_resume and loader.generator is None:
            # Starting workers takes a random number. Persistent ones start once, and once more in
            # a resumed run: taken from torch's own generator it would shift what comes after.
            loader.generator = torch.Generator().manual_seed(seed)
        self._log_interval = next(
            (h.interval for h in runner.hooks if isinstance(h, LoggerHook)), 50
        )

    def before_train(self, runner: Runner) -> None:
        if self._exact_resume and not self._keyed and runner.train_loop.dataloader.num_workers:
            print_log(
                "The training data set is not an mmengine BaseDataset, so the randomness of its "
                "workers cannot be replayed: a resumed run will augment otherwise than one that "
                "never stopped.",
                logger="current",
                level=logging.WARNING,
            )

    def before_train_epoch(self, runner: Runner) -> None:
        self._key[1] = runner.epoch
        if self._active:
            self.choosing.begin_epoch(runner.epoch)
        if self._random_state is not None:
            # As it was when the last epoch ended: validation in between leaves no trace.
            restore_random_state(self._random_state)
        self._last_time = time.perf_counter()
        self._images = self._trained = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._active:
            self._wrapper.batch = self.choosing.choose(data_batch)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        result = self._wrapper.last_result
        if self._active:
            self._warn_if_blind(runner, result)
            self.choosing.learn(result)
            self._images += self.choosing.size
            self._trained += self.choosing.trained
        else:
            size = batch_length(data_batch)
            self._images, self._trained = self._images + size, self._trained + size
        # On the CPU looking costs nothing; on a device it is done where the log waits anyway.
        logs = self.every_n_inner_iters(batch_idx, self._log_interval)
        if logs or (result.finite.device.type == "cpu" and not result.finite):
            self._wrapper.method.check()
        if logs:
            self._log(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Before CheckpointHook saves: an epoch that cannot go on must not be saved as good."""
        self._wrapper.method.check()
        self._wrapper.method.end_epoch()
        if self._active:
            self.choosing.end_epoch()
        if self._exact_resume:
            self._random_state = capture_random_state()
            # Saving is the master's alone, so the ranks' states are gathered here.
            self._all_random_states = all_gather_object(self._random_state)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        state: dict[str, Any] = {
            "seed": getattr(self._inner_sampler, "seed", None),
            "key": int(self._key[0]),
        }
        if self._active:
            state["selection"] = self.choosing.selection.state_dict()
            state["selection_seed"] = self.choosing.seed
        if self._random_state is not None:
            state["random_states"] = self._all_random_states
        checkpoint[KEY] = state

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not runner._resume:
            return
        state = checkpoint.get(KEY)
        if state is None:
            print_log(
                "The checkpoint was not written with AUSAMHook: scores start empty, and the "
                "resumed run will not repeat what the interrupted one would have done.",
                logger="current",
                level=logging.WARNING,
            )
            return
        if self._active and "selection" in state:
            self.choosing.selection.load_state_dict(state["selection"])
            self.choosing.seed = state["selection_seed"]
        if state["seed"] is not None and hasattr(self._inner_sampler, "seed"):
            self._inner_sampler.seed = state["seed"]
        self._key[0] = state["key"]
        states = state.get("random_states")
        if states is not None and self._exact_resume:
            rank = get_rank()
            if rank < len(states):
                self._random_state = states[rank]
                self._all_random_states = states

    def _warn_if_blind(self, runner: Runner, result: StepResult) -> None:
        """Say once, and loudly, that nothing can be learned from this model."""
        if result.before is None and self.choosing.selection.needs_losses and not self._warned:
            self._warned = True
            print_log(
                f"AUSAM cannot see the loss of each sample: {type(runner.model).__name__} returns "
                "no vector of losses and has no module whose losses could be recorded. Samples are "
                "drawn UNIFORMLY: that is SAM+Random, not AUSAM. Register a handler with "
                "ausam_core.register_per_sample_loss or name loss_modules.",
                logger="current",
                level=logging.WARNING,
            )

    def _selection_config(self) -> dict[str, Any]:
        if self._selection is not None:
            return dict(self._selection)
        if self._given.get("alpha") == 1:
            return dict(type="AllSamples")
        return dict(type="GradientNormSelection", **self._given)

    def _log(self, runner: Runner) -> None:
        """Few scalars, at the iterations at which LoggerHook reads its own."""
        now, hub = time.perf_counter(), runner.message_hub
        seconds, self._last_time = now - self._last_time, now
        result = self._wrapper.last_result
        if result.grad_norm is not None:
            hub.update_scalar("train/sam_grad_norm", result.grad_norm)
        if self._images:
            hub.update_scalar("train/images_per_s", self._images / seconds)
            hub.update_scalar("train/trained_per_s", self._trained / seconds)
            hub.update_scalar("train/share_trained", self._trained / self._images)
        if result.difference is not None:
            hub.update_scalar("train/difference", result.difference.mean())
        if hasattr(self.choosing.selection, "s_max_at"):
            hub.update_scalar("train/s_max", self.choosing.selection.s_max_at(runner.epoch))
        skipped = self._wrapper.method.skipping.read()[0]
        if skipped:
            hub.update_scalar("train/skipped", skipped)
        self._images = self._trained = 0
