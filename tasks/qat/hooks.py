"""Quantization in an MMEngine run: the start, what is watched, and what precedes an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.mmengine import SAMOptimWrapper
from tasks.qat.batch_norm import reestimate
from tasks.qat.batches import inner_model, training_batches
from tasks.qat.calibration import calibrate
from tasks.qat.fake_quantize import Ste
from tasks.qat.float_checkpoint import load_float
from tasks.qat.network import QuantizedNetwork
from tasks.qat.oscillation import Oscillation, dampen
from tasks.qat.policy import format_table
from tasks.qat.sharpness import join
from tasks.qat.step_guard import StepGuard

KEY = "qat"
"""Where a checkpoint holds the state of the oscillation counter."""


@HOOKS.register_module()
class QuantizationHook(Hook):
    """Starts a quantized run from its float checkpoint and watches its codes.

    Before training it loads the float weights, chooses all steps (weights by themselves,
    activations on a few batches) and prints the table of layers; a resumed run finds all of it in
    its checkpoint.

    Args:
        perturb: what SAM's ε is added to, see :class:`~tasks.qat.layers.Behaviour`.
        ste: where the gradient of a value passes, see :mod:`tasks.qat.fake_quantize`.
        calibration_batches: how many training batches activation steps are chosen on.
        dampening: λ at the start and at the end of training, by a cosine, or None. (0, 0.1) is the
            schedule of Nagel et al.
        freezing: the frequency above which a weight is frozen, at the start and at the end, by a
            cosine, or None. (0.04, 0.01) is a schedule of Nagel et al.

    Raises:
        AusamError: at the start, for a model that is not quantized, for a float checkpoint that
            does not fit or was not named; at the end of an epoch, for steps that became useless.
    """

    def __init__(
        self,
        perturb: Literal["latent", "quantized"] = "latent",
        ste: Ste = "clip",
        calibration_batches: int = 8,
        dampening: Sequence[float] | None = None,
        freezing: Sequence[float] | None = None,
    ) -> None:
        if ste not in ("clip", "round"):
            raise AusamError(f'ste must be "clip" or "round", found {ste!r}')
        self.perturb, self.ste, self.calibration_batches = perturb, ste, calibration_batches
        self.dampening, self.freezing = dampening, freezing
        self._state: dict[str, Tensor] | None = None

    def before_train(self, runner: Runner) -> None:
        """Meet the model; it has been loaded or resumed by now."""
        self._network = quantized_network(runner)
        self._network.behaviour.ste = self.ste
        if not isinstance(runner.optim_wrapper, SAMOptimWrapper):
            raise AusamError(
                "quantized training needs SAMOptimWrapper, with method=dict(type='Base') for "
                f"plain SGD; found {type(runner.optim_wrapper).__name__}"
            )
        join(self._network, runner.optim_wrapper.method, self.perturb)
        if not (runner._resume or runner._load_from):
            self._start(runner)
        self._network.check_steps()
        print_log(f"quantized layers:\n{format_table(self._network.table)}", logger="current")
        self._guard = StepGuard(self._network)
        # Freezing must see every weight; a rate needs a sample.
        self.oscillation = Oscillation(self._network, per_layer=None if self.freezing else 4096)
        if self._state is not None:
            self.oscillation.load_state_dict(self._state)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Once an update, however many passes and batches it took, at the updated weights."""
        if not runner.optim_wrapper.should_update():
            return
        self._guard.limit()
        if self.dampening:
            rate = runner.optim_wrapper.param_groups[0]["lr"]
            dampen(self._network, 2 * rate * _cosine(self.dampening, runner))
        self.oscillation.count()
        if self.freezing:
            self.oscillation.freeze(_cosine(self.freezing, runner))

    def after_train_epoch(self, runner: Runner) -> None:
        self._network.check_steps()
        rate = 100 * float(self.oscillation.rate())
        runner.message_hub.update_scalar("train/oscillating", rate)
        frozen = f", {100 * float(self.oscillation.frozen.float().mean()):.2f} % frozen"
        print_log(
            f"epoch {runner.epoch + 1}: {rate:.2f} % of the weights oscillate"
            + (frozen if self.freezing else ""),
            logger="current",
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.oscillation.state_dict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner._resume:
            self._state = checkpoint.get(KEY)

    def _start(self, runner: Runner) -> None:
        model = inner_model(runner)
        if model.float_checkpoint is not None and not model.from_scratch:
            load_float(self._network, model.float_checkpoint)
            print_log(f"float weights from {model.float_checkpoint}", logger="current")
        elif not model.from_scratch:
            raise AusamError(
                "quantized training starts from a float checkpoint, and none is named; set "
                "model.float_checkpoint=…, or model.from_scratch=True to start from random weights"
            )
        batches = list(training_batches(runner, self.calibration_batches, key=0))
        if model.from_scratch:
            self._network.behaviour.floats = True
            reestimate(self._network, batches)  # statistics of 0 and 1 would mislead the steps
            self._network.behaviour.floats = False
        calibrate(self._network, batches)


@HOOKS.register_module()
class BatchNormReestimationHook(Hook):
    """Re-estimates BatchNorm's running statistics before each evaluation.

    It runs when the epoch is over and before its checkpoint is written, so that what is evaluated
    is what is saved. Training itself never looks at running statistics.

    Args:
        batches: how many random training batches are run.
        compare: evaluate before as well, and log both.
    """

    # after AUSAMHook has kept the random state, before CheckpointHook saves
    priority = "BELOW_NORMAL"

    def __init__(self, batches: int = 50, compare: bool = True) -> None:
        self.batches, self.compare = batches, compare
        self._before: Mapping[str, float] | None = None

    def after_train_epoch(self, runner: Runner) -> None:
        if not self._evaluates(runner):
            return
        self._before = evaluate(runner) if self.compare else None
        net = inner_model(runner).net
        reestimate(net, training_batches(runner, self.batches, key=runner.epoch + 1))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        before, self._before = self._before, None
        for name, value in (before or {}).items():
            print_log(
                f"{name}: {value:.2f} before BatchNorm was re-estimated on {self.batches} batches, "
                f"{(metrics or {}).get(name, math.nan):.2f} after",
                logger="current",
            )

    def _evaluates(self, runner: Runner) -> bool:
        """Whether the loop will evaluate after this epoch."""
        loop, epoch = runner.train_loop, runner.epoch + 1
        if runner.val_loop is None or epoch < loop.val_begin:
            return False
        return epoch % loop.val_interval == 0 or epoch == loop.max_epochs


def evaluate(runner: Runner) -> dict[str, float]:
    """The metrics of the run's evaluation, without its hooks and log; every rank calls it."""
    loop, was_training = runner.val_loop, runner.model.training
    runner.model.eval()
    for batch in loop.dataloader:
        loop.evaluator.process(data_samples=runner.model.val_step(batch), data_batch=batch)
    runner.model.train(was_training)
    return loop.evaluator.evaluate(len(loop.dataloader.dataset))


def quantized_network(runner: Runner) -> QuantizedNetwork:
    """The quantized network of a run.

    Raises:
        AusamError: if its model has none.
    """
    network = getattr(inner_model(runner), "net", None)
    if not isinstance(network, QuantizedNetwork):
        raise AusamError(
            f"QuantizationHook needs a model of type QuantizedClassifier, found "
            f"{type(inner_model(runner)).__name__}"
        )
    return network


def _cosine(ends: Sequence[float], runner: Runner) -> float:
    """From the first value to the second, along half a cosine, over the run."""
    start, end = ends
    share = (runner.iter + 1) / runner.max_iters
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
