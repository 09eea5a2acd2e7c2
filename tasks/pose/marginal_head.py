"""A SimCC head that begins as the marginals of a heat map: quick to learn from few images."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.registry import MODELS
from mmpose.models.heads import SimCCHead
from torch import Tensor, nn


@MODELS.register_module()
class MarginalSimCCHead(SimCCHead):
    """SimCC (Li et al., ECCV 2022) whose linear layers know at the start where a pixel lies.

    SimCC flattens the map of a joint and learns from nothing which of its cells belong to which
    bin. Here the first weights of the x layer add the map up over its rows and stretch the result
    to the bins, those of the y layer over its columns; from there they are trained like any other.
    Before the map comes a convolution of 3 x 3 with batch norm and ReLU.

    Args:
        hidden_channels: of that convolution.
        **kwargs: as of MMPose's ``SimCCHead``, without deconvolutions.
    """

    def __init__(self, hidden_channels: int = 128, **kwargs: Any) -> None:
        super().__init__(deconv_out_channels=None, **kwargs)
        self.final_layer = nn.Sequential(
            nn.Conv2d(self.in_channels, hidden_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, self.out_channels, 1),
        )

    def init_weights(self) -> None:
        """Convolutions by ``init_cfg``, then the linear layers as marginals."""
        super().init_weights()
        width, height = self.heatmap_size
        with torch.no_grad():
            over_rows = stretch(self.mlp_head_x.out_features, width) / math.sqrt(height)
            over_columns = stretch(self.mlp_head_y.out_features, height) / math.sqrt(width)
            self.mlp_head_x.weight.copy_(over_rows.repeat(1, height))
            self.mlp_head_y.weight.copy_(over_columns.repeat_interleave(width, dim=1))
            for layer in (self.mlp_head_x, self.mlp_head_y):
                nn.init.zeros_(layer.bias)


def stretch(bins: int, cells: int) -> Tensor:
    """Weights (bins, cells) that interpolate a row of cells linearly to bins over the same length.

    Each bin's weights add up to 1; bins outside the first and last centre take that cell alone.
    """
    places = (torch.arange(bins) + 0.5) * cells / bins - 0.5
    near = (1 - (places.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()).clamp(min=0)
    return near
