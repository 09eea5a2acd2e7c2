"""Networks as people have them: small ones with one trait each, and those of torchvision."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

CLASSES = 10


def conv(inputs: int, outputs: int, **settings: object) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, **{"padding": 1, "bias": False, **settings})


class Between(nn.Module):
    """Two convolutions, what is tried between or behind them, a classifier."""

    def __init__(
        self,
        between: Callable[..., Tensor] | None = None,
        behind: Callable[..., Tensor] | None = None,
        modules: dict[str, nn.Module] | None = None,
        features: int = 8,
    ) -> None:
        super().__init__()
        self.a, self.n, self.b = conv(3, 8), nn.BatchNorm2d(8), conv(8, 8)
        self.fc = nn.Linear(features, CLASSES)
        self.between = between or (lambda net, x: F.relu(x))
        self.behind = behind or (lambda net, x: F.relu(x).mean([2, 3]))
        for name, module in (modules or {}).items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self, self.n(self.a(x)))
        return self.fc(self.behind(self, self.b(x)))


def between(function: Callable[..., Tensor], **modules: nn.Module) -> Callable[[], nn.Module]:
    return lambda: Between(between=function, modules=modules)


def behind(
    function: Callable[..., Tensor], features: int = 8, **modules: nn.Module
) -> Callable[[], nn.Module]:
    return lambda: Between(behind=function, features=features, modules=modules)


class NormAct(nn.BatchNorm2d):
    """BatchNorm and activation in one class, with BatchNorm's own names, as in timm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        torch._assert(x.ndim == 4, f"an image, found {x.ndim} dimensions")
        if self.training:
            self.num_batches_tracked.add_(1)
        statistics = self.running_mean, self.running_var
        x = F.batch_norm(x, *statistics, self.weight, self.bias, self.training, 0.1, self.eps)
        return self.act(x)


class OwnConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 1, 0, 1))
        return F.conv2d(x, self.weight, bias=self.bias, stride=self.stride)


class OwnLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Twice(nn.Module):
    """A convolution that is called twice, with a BatchNorm for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c, self.fc = conv(3, 8), conv(8, 8), nn.Linear(8, CLASSES)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        for norm in self.norms:
            x = F.relu(norm(self.c(x)))
        return self.fc(x.mean([2, 3]))


class Names(nn.Module):
    """Names that meet when their dots become underscores, and one that quantization uses itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fc = conv(3, 8), nn.Linear(8, CLASSES)
        self.a, self.a_b, self.activations = nn.Sequential(), nn.Sequential(), nn.Sequential()
        self.a.add_module("b_c", conv(8, 8))
        self.a_b.add_module("c", conv(8, 8))
        self.activations.add_module("fc", nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.a_b(self.a(self.activations(self.stem(x))))
        return self.fc(input=F.relu(x).mean([2, 3]))


class OptionA(nn.Module):
    """A block of CIFAR's ResNet-20: a shortcut without parameters, by slices and zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.inputs != self.outputs:
            edge = (self.outputs - self.inputs) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, edge, edge))
        return F.relu(y + x)


class Heads(nn.Module):
    """Two heads on one map, one over each row of it, as SimCC has them; in a tuple or a dict."""

    def __init__(self, by_name: bool = False) -> None:
        super().__init__()
        self.by_name = by_name
        self.a, self.final = conv(3, 8), nn.Conv2d(8, 4, 1)
        self.x, self.y = nn.Linear(144, 20, bias=False), nn.Linear(144, 24)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor] | dict[str, Tensor]:
        features = torch.flatten(self.final(F.relu(self.a(images))), 2)
        pair = self.x(features), self.y(features)
        return {"x": pair[0], "y": pair[1]} if self.by_name else pair


class Squeeze(nn.Module):
    """Squeeze and excitation, by functions of one variable and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.up(F.silu(self.down(weight))))


def _shuffle(net: nn.Module, x: Tensor) -> Tensor:
    count, channels, height, width = x.size()
    x = x.view(count, 2, channels // 2, height, width)
    left, right = torch.transpose(x, 1, 2).contiguous().view(count, -1, height, width).chunk(2, 1)
    return F.relu(torch.cat((right, left), dim=1))


def _in_place(net: nn.Module, x: Tensor) -> Tensor:
    y = x * 0.5
    F.relu(x, inplace=True)  # y has the old x, what follows the new one
    return x + y.relu_()


def _split(net: nn.Module, x: Tensor) -> Tensor:
    left, right = x.split([2, 6], dim=1)
    return torch.cat([right * 0.5, left], 1)


SMALL: dict[str, Callable[[], nn.Module]] = {
    "relu6": between(lambda net, x: F.relu6(3 * x)),
    "hardtanh": between(lambda net, x: net.act(x), act=nn.Hardtanh(-0.5, 2.0)),
    "clamp": between(lambda net, x: torch.clamp(x, max=0.7, min=-0.2)),
    "alpha": between(lambda net, x: F.relu(torch.add(x, x * x, alpha=2))),
    "difference": between(lambda net, x: F.relu(1.5 - torch.sub(x, 0.3, alpha=2) / 0.7)),
    "functions": between(lambda net, x: F.hardswish(x) + torch.tanh(x) + F.leaky_relu(x, 0.2)),
    "settings of functions": between(
        lambda net, x: net.elu(x) + net.plus(x) + net.gelu(x),
        elu=nn.ELU(0.7),
        plus=nn.Softplus(2.0),
        gelu=nn.GELU("tanh"),
    ),
    "squeeze and excitation": between(lambda net, x: net.squeeze(F.relu(x)), squeeze=Squeeze()),
    "in place": between(_in_place),
    "maximum": between(lambda net, x: net.pool(F.relu(x)), pool=nn.MaxPool2d(3, 2, 1)),
    "maximum, rounded up": between(lambda net, x: F.max_pool2d(F.relu(x), 3, 2, ceil_mode=True)),
    "average": between(lambda net, x: net.pool(F.relu(x)), pool=nn.AvgPool2d(3, 2, 1)),
    "average, rounded up": between(
        lambda net, x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
    ),
    "average by the size": behind(lambda net, x: F.avg_pool2d(x, x.size()[3]).flatten(1)),
    "adaptive to more": behind(lambda net, x: F.adaptive_avg_pool2d(x, (2, 5)).flatten(1), 80),
    "nearest upsampling": between(lambda net, x: net.up(F.relu(x)), up=nn.Upsample(scale_factor=2)),
    "concatenation": behind(
        lambda net, x: torch.cat([x.mean((2, 3)), F.adaptive_max_pool2d(x, 1).flatten(1)], -1), 16
    ),
    "channel shuffle": between(_shuffle),
    "channel shuffle, a module": between(
        lambda net, x: net.shuffle(F.relu(x)), shuffle=nn.ChannelShuffle(4)
    ),
    "split": between(_split),
    "slices": between(
        lambda net, x: F.relu(F.pad(x[:, 1:7:2, ..., 1:], (1, 0, 0, 0, 2, 3), value=0.1))
    ),
    "view by the size": behind(lambda net, x: F.relu(x).mean(3).view(x.size(0), -1), 96),
    "flatten over more": behind(
        lambda net, x: F.max_pool2d(x, 4).permute(0, 2, 3, 1).flatten(1), 72
    ),
    "dropout": behind(
        lambda net, x: net.drop(F.dropout(F.relu(x).mean([2, 3]), 0.5, net.training)),
        drop=nn.Dropout(0.3),
    ),
    "padding by name": between(
        lambda net, x: net.valid(net.same(F.relu(x))),
        same=nn.Conv2d(8, 8, 4, padding="same", dilation=2),
        valid=nn.Conv2d(8, 8, 3, padding="valid", groups=2),
    ),
    "norm without affine": between(
        lambda net, x: net.norm(x), norm=nn.BatchNorm2d(8, affine=False)
    ),
    "a layer twice": Twice,
    "names": Names,
    "shortcuts without parameters": lambda: nn.Sequential(
        conv(3, 8),
        OptionA(8, 8, 1),
        OptionA(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    ),
    "norm first": lambda: nn.Sequential(
        nn.BatchNorm2d(3), conv(3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(1152, CLASSES)
    ),
    "relu first": lambda: nn.Sequential(
        nn.ReLU(), nn.MaxPool2d(2), conv(3, 8), nn.Flatten(), nn.Linear(288, CLASSES)
    ),
    "pooling first": lambda: nn.Sequential(
        nn.AvgPool2d(2), conv(3, 8), nn.Flatten(), nn.Linear(288, CLASSES)
    ),
    "multilayer perceptron": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(432, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, CLASSES)
    ),
    "a map": lambda: nn.Sequential(conv(3, 8), nn.ReLU(), nn.Conv2d(8, 5, 1)),
    "two heads": Heads,
    "two heads by name": lambda: Heads(by_name=True),
    "layers of classes of their own": lambda: nn.Sequential(
        OwnConv(3, 8, 3, 2),
        NormAct(8),
        conv(8, 8),
        nn.Flatten(),
        OwnLinear(288, CLASSES),
    ),
    "a layer alone": lambda: nn.Conv2d(3, 4, 3),
}
"""Name of the trait and a network for images of 12 pixels."""

_WIDE = {
    "resnet18": 32,
    "resnext50_32x4d": 32,
    "regnet_x_400mf": 32,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "efficientnet_b0": 32,
    "squeezenet1_1": 48,
    "shufflenet_v2_x0_5": 32,
    "densenet121": 32,
    "googlenet": 48,
    "vgg11_bn": 32,
    "alexnet": 64,
}
_SETTINGS = {"googlenet": dict(init_weights=False, aux_logits=False)}


def _torchvision(name: str) -> Callable[[], nn.Module]:
    build = getattr(torchvision.models, name)
    return lambda: build(weights=None, num_classes=CLASSES, **_SETTINGS.get(name, {}))


WIDE: dict[str, tuple[Callable[[], nn.Module], int]] = {
    name: (_torchvision(name), size) for name, size in _WIDE.items()
}
"""Networks of torchvision, and the side of their images."""


def lived_in(network: nn.Module, size: int, seed: int = 0) -> nn.Module:
    """The network with statistics and affine parameters as after some training."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.uniform_(-0.3, 0.3, generator=generator)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, size, size, generator=generator))
    return network.eval()
