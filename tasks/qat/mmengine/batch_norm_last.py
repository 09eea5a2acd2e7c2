"""The last epochs of a quantized run, in which weights stand still."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from ausam_core.errors import AusamError
from ausam_core.schedule import check_start, first_epoch
from tasks.qat.hold import hold_weights
from tasks.qat.mmengine.quantization_hook import quantized_network


@HOOKS.register_module()
class BatchNormLastHook(Hook):
    """From a share of the run on, BatchNorm, biases and activation steps train alone.

    See :mod:`tasks.qat.hold` for the source, and for what stands still. Where a run is resumed does
    not matter: the epoch alone says what trains.

    Args:
        start: share of the epochs, in [0, 1), in which everything trains.

    Raises:
        AusamError: for a share outside [0, 1); at the start of the run, for a run of one epoch, for
            a network without BatchNorm and biases, and for a distributed wrapper that expects a
            gradient of every parameter.
    """

    def __init__(self, start: float = 0.75) -> None:
        self.start = check_start(start)

    def before_train(self, runner: Runner) -> None:
        """Refuse what could not work later."""
        self._network = quantized_network(runner)
        self._first = first_epoch(self.start, runner.max_epochs)
        if self._first >= runner.max_epochs:
            raise AusamError(
                f"BatchNormLastHook(start={self.start:g}) begins between two epochs, and the run "
                "has one; train for two or more"
            )
        model = runner.model
        if isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
            raise AusamError(
                "BatchNormLastHook lets weights stand still, and DistributedDataParallel waits for "
                "their gradients; set find_unused_parameters=True in the config"
            )
        hold_weights(self._network, runner.epoch >= self._first)

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == self._first:
            count = len(hold_weights(self._network))
            print_log(
                f"epoch {runner.epoch + 1}: weights and their steps stand still from here on; "
                f"{count} tensors (BatchNorm, biases, activation steps) go on",
                logger="current",
            )

    def after_train(self, runner: Runner) -> None:
        """Leave a network that can be trained."""
        hold_weights(self._network, hold=False)
