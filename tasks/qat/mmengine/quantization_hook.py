"""Quantization in an MMEngine run: the start, and what is watched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ausam_core import AusamError, Method
from ausam_core.batch_norm_reestimation import reestimate
from ausam_core.mmengine.batch_norm_hook import inner_model, training_batches
from tasks.qat.calibration import calibrate
from tasks.qat.check import MODELS
from tasks.qat.fake_quantize import Ste
from tasks.qat.method import adapt_to_method
from tasks.qat.mmengine.float_checkpoint import load_float
from tasks.qat.network import QuantizedNetwork
from tasks.qat.oscillation import Oscillation, dampen
from tasks.qat.policy import format_table
from tasks.qat.steps import is_step

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
        method = getattr(runner.optim_wrapper, "method", None)
        if not isinstance(method, Method):
            raise AusamError(
                "quantized training needs SAMOptimWrapper, with method=dict(type='Base') for "
                f"plain SGD; found {type(runner.optim_wrapper).__name__}"
            )
        adapt_to_method(self._network, method, self.perturb)
        if not (runner._resume or runner._load_from):
            self._start(runner)
        self._network.check_steps()
        print_log(f"quantized layers:\n{format_table(self._network.table)}", logger="current")
        # Freezing must see every weight; a rate needs a sample.
        self.oscillation = Oscillation(self._network, per_layer=None if self.freezing else 4096)
        if self._state is not None and not self.oscillation.load_state_dict(self._state):
            print_log(
                "the resumed run watched other weights for oscillation, as freezing was switched "
                "since; counting begins again",
                logger="current",
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Once an update, however many passes and batches it took, at the updated weights."""
        if not runner.optim_wrapper.should_update():
            return
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
        names = checkpoint.get("state_dict", {})
        if not any(is_step(name) for name in names):
            raise AusamError(
                f"{runner._load_from or 'the checkpoint'} holds a float network; quantized "
                "training starts from it with model.float_checkpoint=FILE in place of load_from"
            )
        if runner._resume:
            self._state = checkpoint.get(KEY)

    def _start(self, runner: Runner) -> None:
        model = inner_model(runner)
        if model.float_checkpoint is not None and not model.from_scratch:
            load_float(model, model.float_checkpoint)
            print_log(f"float weights from {model.float_checkpoint}", logger="current")
        elif not model.from_scratch:
            raise AusamError(
                "quantized training starts from a float checkpoint, and none is named; set "
                "model.float_checkpoint=…, or model.from_scratch=True to start from random weights"
            )
        data = training_batches(runner, self.calibration_batches, key=0)
        batches = [batch["inputs"] for batch in data]
        if model.from_scratch:
            self._network.behaviour.floats = True
            reestimate(self._network, batches)  # statistics of 0 and 1 would mislead the steps
            self._network.behaviour.floats = False
        calibrate(self._network, batches)


def quantized_network(runner: Runner) -> QuantizedNetwork:
    """The quantized network of a run.

    Raises:
        AusamError: if its model has none.
    """
    network = getattr(inner_model(runner), "net", None)
    if not isinstance(network, QuantizedNetwork):
        raise AusamError(
            f"quantized training needs a model of type {' or '.join(MODELS)}, found "
            f"{type(inner_model(runner)).__name__}"
        )
    return network


def _cosine(ends: Sequence[float], runner: Runner) -> float:
    """From the first value to the second, along half a cosine, over the run."""
    start, end = ends
    share = (runner.iter + 1) / runner.max_iters
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
