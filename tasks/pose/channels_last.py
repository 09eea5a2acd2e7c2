"""Convolutions in the memory layout that CPUs, and GPUs under mixed precision, are fastest in."""

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Lay the model out channels-last before a run; values, shapes and checkpoints stay the same.

    Images need no change: a convolution follows the layout of its weights.
    """

    def before_run(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)
