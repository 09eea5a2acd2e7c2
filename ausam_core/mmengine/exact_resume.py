"""A run by epochs that was killed and resumed equals the run that was never killed.

Any MMEngine run can use it, with or without AUSAM::

    custom_hooks = [dict(type='ExactResumeHook')]
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from ausam_core.mmengine.requested import let_batches_tell
from ausam_core.random_state import capture_random_state, restore_random_state

KEY = "exact_resume"
"""Where a checkpoint holds seeds and random state."""


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes chance in loading a function of (seed, epoch, sample), and keeps all other random state
    in the checkpoint.

    MMEngine resumes weights and schedules; but a resumed run shuffles by another seed unless one is
    set, starts its workers again and augments otherwise, and draws other dropout masks. A run by
    iterations, whose workers start before it, is left as it is.
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        # (seed, epoch) of the loading, where persistent workers see them move
        self._key = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._active = False
        self._sampler: Any = None
        self._state: dict[str, Any] | None = None
        self._states: list[dict[str, Any]] = []

    def before_run(self, runner: Runner) -> None:
        """Meet the loader."""
        if runner.optim_wrapper is None or isinstance(runner.optim_wrapper, dict):
            return  # a validation or a test
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return  # its workers have started already
        self._active = True
        loader = runner.train_loop.dataloader
        self._sampler = getattr(loader.batch_sampler, "sampler", None)
        seed = getattr(loader.batch_sampler, "seed", None)
        if seed is None:
            seed = getattr(self._sampler, "seed", None) or 0
        self._key[0] = seed
        if not getattr(loader.dataset, "is_keyed", False):
            let_batches_tell(loader, self._key)
        if loader.generator is None:
            # Starting workers takes a random number. Persistent ones start once, and once more in
            # a resumed run: taken from torch's own generator it would shift what comes after.
            loader.generator = torch.Generator().manual_seed(seed)

    def before_train_epoch(self, runner: Runner) -> None:
        self._key[1] = runner.epoch
        if self._state is not None:
            # As it was when the last epoch ended: validation in between leaves no trace.
            restore_random_state(self._state)

    def after_train_epoch(self, runner: Runner) -> None:
        """Before CheckpointHook saves."""
        if self._active:
            self._state = capture_random_state()
            # Saving is the master's alone, so the ranks' states are gathered here.
            self._states = all_gather_object(self._state)

    def after_train(self, runner: Runner) -> None:
        if self._state is not None:
            # Where only the end of the run was left to do, no epoch has restored it; and whatever
            # follows in the same process must not depend on what the last validation drew.
            restore_random_state(self._state)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self._active:
            checkpoint[KEY] = {
                "seed": getattr(self._sampler, "seed", None),
                "key": int(self._key[0]),
                "random_states": self._states,
            }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not (runner._resume and self._active):
            return
        state = checkpoint.get(KEY)
        if state is None:
            print_log(
                "The checkpoint was not written with ExactResumeHook (AUSAMHook brings it): the "
                "resumed run will not repeat what the interrupted one would have done.",
                logger="current",
                level=logging.WARNING,
            )
            return
        if state["seed"] is not None and hasattr(self._sampler, "seed"):
            self._sampler.seed = state["seed"]
        self._key[0] = state["key"]
        self._states = state["random_states"]
        if get_rank() < len(self._states):
            self._state = self._states[get_rank()]
