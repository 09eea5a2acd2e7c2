"""WideResNet-28-10.

Zagoruyko and Komodakis, "Wide Residual Networks" (2016): blocks with BatchNorm and ReLU before
their convolutions, k times as wide as a thin ResNet for CIFAR. No dropout.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from ausam_core.errors import AusamError
from tasks.classification.models.initialise import initialise


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = (
            nn.Conv2d(channels, width, 1, stride, bias=False) if channels != width else None
        )

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x), inplace=True)
        # Where the width changes, the shortcut starts behind the activation, as in the paper's
        # code.
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return shortcut + self.conv2(F.relu(self.bn2(self.conv1(activated)), inplace=True))


@MODELS.register_module()
class WideResNet(nn.Module):
    """WideResNet for 32 × 32 images.

    Args:
        depth: 6n + 4.
        widen: factor k on 16, 32 and 64 channels.
        num_classes: C.
    """

    def __init__(self, depth: int = 28, widen: int = 10, num_classes: int = 10) -> None:
        super().__init__()
        if (depth - 4) % 6:
            raise AusamError(f"the depth of a WideResNet is 6n + 4, found {depth}; 28 and 16 are")
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        blocks = []
        for i in range(3):
            for j in range((depth - 4) // 6):
                channels = widths[i] if j == 0 else widths[i + 1]
                blocks.append(_Block(channels, widths[i + 1], 2 if i > 0 and j == 0 else 1))
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(widths[-1])
        self.fc = nn.Linear(widths[-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[K, 3, H, W]`` to class scores ``[K, C]``."""
        x = F.relu(self.bn(self.blocks(self.conv1(x))), inplace=True)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
