"""MobileNetV1.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(2017), Table 1. For small images the first convolution has stride 1: from 32 pixels the last map is
then 2 × 2, from 64 it is 4 × 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from tasks.classification.models.initialise import initialise

# (channels, stride) of the depthwise separable blocks
_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
_BLOCKS += [(1024, 2), (1024, 1)]


def _convolution(
    channels: int, width: int, kernel: int, stride: int, groups: int
) -> list[nn.Module]:
    conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


@MODELS.register_module(name="SmallImageMobileNetV1")
class MobileNetV1(nn.Module):
    """MobileNetV1 for images of 32, 64 or 224 pixels.

    Args:
        num_classes: C.
        width: factor on all channels.
        stem_stride: stride of the first convolution: 1 for 32 and 64 pixels, 2 for 224.
    """

    def __init__(self, num_classes: int = 10, width: float = 1.0, stem_stride: int = 1) -> None:
        super().__init__()
        channels = max(8, round(32 * width))
        self.stem = nn.Sequential(*_convolution(3, channels, 3, stem_stride, 1))
        blocks = []
        for planes, stride in _BLOCKS:
            out = max(8, round(planes * width))
            depthwise = _convolution(channels, channels, 3, stride, channels)
            blocks.append(nn.Sequential(*depthwise, *_convolution(channels, out, 1, 1, 1)))
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``[K, 3, H, W]`` to class scores ``[K, C]``."""
        x = self.blocks(self.stem(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
