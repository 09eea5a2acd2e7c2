"""What holds a bias that is a whole one in evaluation: a BatchNorm, or a layer without one.

See :mod:`tasks.qat.behind_sums` for what it is a whole number of, and why.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class HoldsBias(nn.Module):
    """A module with a bias.

    Attributes:
        whole_bias: what it is in the forward pass that runs; None where it is as trained.
    """

    whole_bias: Tensor | None = None

    @property
    def used_bias(self) -> Tensor | None:
        """The bias of this pass."""
        return self.bias if self.whole_bias is None else self.whole_bias


class _Norm(HoldsBias, _BatchNorm):
    """BatchNorm right behind a layer."""

    heeds_track_running_stats = True  # ausam_core need not copy them

    def forward(self, input: Tensor) -> Tensor:
        # behind a linear layer over more than features, BatchNorm counts another dimension
        if self.training or self.whole_bias is None or input.dim() == 3:
            return super().forward(input)
        constants = self.running_mean, self.running_var, self.weight, self.whole_bias
        return F.batch_norm(input, *constants, eps=self.eps)


class WholeBatchNorm1d(_Norm, nn.BatchNorm1d):
    """Behind a linear layer."""


class WholeBatchNorm2d(_Norm, nn.BatchNorm2d):
    """Behind a convolution."""


_KINDS = {nn.BatchNorm1d: WholeBatchNorm1d, nn.BatchNorm2d: WholeBatchNorm2d}


def hold_bias(norm: nn.Module, channels: int) -> bool:
    """Let a BatchNorm of so many channels, with a bias, hold a whole one; whether it can."""
    kind = _KINDS.get(type(norm))
    if kind is None or norm.bias is None or len(norm.bias) != channels:
        return False
    norm.__class__ = kind  # all else stays: parameters, statistics, hooks
    return True
