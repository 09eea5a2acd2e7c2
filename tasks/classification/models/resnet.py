"""ResNet-18 and ResNet-50 with a stem for small images.

He et al., "Deep Residual Learning for Image Recognition" (2016). Torchvision's blocks; the first
convolution is 3 × 3 with stride 1 and there is no pooling after it, as the paper says for 64 × 64
and everyone does for 32 × 32. `stem="imagenet"` is the original 7 × 7 with pooling.
"""

from __future__ import annotations

from typing import Literal

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from tasks.classification.models.initialise import initialise

_DEPTHS = {18: (BasicBlock, (2, 2, 2, 2)), 50: (Bottleneck, (3, 4, 6, 3))}


@MODELS.register_module(name="SmallImageResNet")
class ResNet(nn.Module):
    """ResNet for small images.

    Args:
        depth: 18 or 50.
        num_classes: C.
        width: channels of the first stage; 64 in the paper.
        stem: ``"small"`` (3 × 3, stride 1) or ``"imagenet"`` (7 × 7, stride 2, pooling).
    """

    def __init__(
        self,
        depth: int = 18,
        num_classes: int = 10,
        width: int = 64,
        stem: Literal["small", "imagenet"] = "small",
    ) -> None:
        super().__init__()
        block, counts = _DEPTHS[depth]
        small = stem == "small"
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        stages, channels = [], width
        for i, count in enumerate(counts):
            planes = width << i
            stages.append(_stage(block, channels, planes, count, stride=1 if i == 0 else 2))
            channels = planes * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[K, 3, H, W]`` to class scores ``[K, C]``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _stage(block: type, channels: int, planes: int, count: int, stride: int) -> nn.Sequential:
    width = planes * block.expansion
    downsample = None
    if stride != 1 or channels != width:
        projection = nn.Conv2d(channels, width, 1, stride, bias=False)
        downsample = nn.Sequential(projection, nn.BatchNorm2d(width))
    blocks = [block(channels, planes, stride, downsample)]
    blocks += [block(width, planes) for _ in range(count - 1)]
    return nn.Sequential(*blocks)
