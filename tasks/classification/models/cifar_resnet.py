"""The residual networks that were made for CIFAR-10: ResNet-20, -32, -44, -56, and the small ones.

He et al., "Deep Residual Learning for Image Recognition" (2016), Section 4.2, with their option A:
where a stage halves the image and doubles the channels, the shortcut takes every second pixel and
pads the channels with zeros on both sides, so it has no parameters. Names of the parameters are
those of Idelbayev's "pytorch_resnet_cifar10", whose published weights therefore load as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from ausam_core.errors import AusamError
from tasks.classification.models.initialise import initialise


class Block(nn.Module):
    """Two 3 × 3 convolutions around a shortcut without parameters."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride, self.padding = stride, (planes - channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.padding:
            stride = self.stride
            x = F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(out + x)


@MODELS.register_module()
class CifarResNet(nn.Module):
    """ResNet of three stages with 16, 32 and 64 channels.

    Args:
        depth: 6n + 2 for n blocks a stage: 8, 14, 20, 32, 44, 56, ….
        num_classes: C.
        width: channels of the first stage.

    Raises:
        AusamError: for a depth that is not 6n + 2.
    """

    def __init__(self, depth: int = 20, num_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise AusamError(
                f"the depth of a CifarResNet is 6n + 2 (8, 14, 20, 32, 44, 56, …), found {depth}"
            )
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.linear = nn.Linear(4 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[K, 3, H, W]`` to class scores ``[K, C]``."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def _stage(channels: int, planes: int, count: int, stride: int) -> nn.Sequential:
    first = Block(channels, planes, stride)
    return nn.Sequential(first, *(Block(planes, planes, 1) for _ in range(count - 1)))
