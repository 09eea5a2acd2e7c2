"""PyramidNet-110 (α = 270).

Han, Kim, Kim, "Deep Pyramidal Residual Networks" (2017): every block is a little wider than the one
before (additive: by α/N of N blocks), BatchNorm before the first convolution and after the last, no
ReLU at a block's end, shortcuts without parameters: average pooling and channels of zeros.
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
        self.bn3 = nn.BatchNorm2d(width)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn2(self.conv1(self.bn1(x))), inplace=True)
        out = self.bn3(self.conv2(out))
        shortcut = F.avg_pool2d(x, 2) if self.stride == 2 else x
        # Adding to a part of the channels is adding zeros to the rest, without making them.
        out[:, : shortcut.shape[1]] += shortcut
        return out


@MODELS.register_module()
class PyramidNet(nn.Module):
    """PyramidNet of basic blocks for 32 × 32 images.

    Args:
        depth: 6n + 2.
        alpha: by how many channels the network widens in all.
        num_classes: C.
    """

    def __init__(self, depth: int = 110, alpha: int = 270, num_classes: int = 10) -> None:
        super().__init__()
        if (depth - 2) % 6:
            raise AusamError(f"the depth of a PyramidNet is 6n + 2, found {depth}; 110 and 20 are")
        count = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, exact = [], 16.0
        for i in range(3 * count):
            channels = round(exact)
            exact += alpha / (3 * count)
            blocks.append(_Block(channels, round(exact), 2 if i in (count, 2 * count) else 1))
        self.blocks = nn.Sequential(*blocks)
        self.bn2 = nn.BatchNorm2d(round(exact))
        self.fc = nn.Linear(round(exact), num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[K, 3, H, W]`` to class scores ``[K, C]``."""
        x = self.blocks(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(x), inplace=True)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
