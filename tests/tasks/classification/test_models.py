"""The networks are those of their papers."""

import pytest
import torch

from ausam_core import AusamError
from tasks.classification.models import CifarResNet, MobileNetV1, PyramidNet, ResNet, WideResNet

# network, parameters in millions as published, tolerance
PUBLISHED = {
    "ResNet-18, CIFAR-10": (ResNet, {}, 11.17, 0.01),
    "ResNet-18, CIFAR-100": (ResNet, dict(num_classes=100), 11.22, 0.01),
    "ResNet-18, ImageNet": (ResNet, dict(num_classes=1000, stem="imagenet"), 11.69, 0.01),
    "ResNet-50, ImageNet": (ResNet, dict(depth=50, num_classes=1000, stem="imagenet"), 25.56, 0.01),
    "ResNet-20, CIFAR-10": (CifarResNet, {}, 0.27, 0.003),
    "ResNet-56, CIFAR-10": (CifarResNet, dict(depth=56), 0.85, 0.005),
    "WideResNet-28-10, CIFAR-10": (WideResNet, {}, 36.5, 0.05),
    "WideResNet-16-8, CIFAR-10": (WideResNet, dict(depth=16, widen=8), 11.0, 0.05),
    # The published figures are 0.7 and 2.7 % lower than the formulas of the paper give.
    "PyramidNet-110 (84)": (PyramidNet, dict(alpha=84), 3.8, 0.11),
    "PyramidNet-110 (270)": (PyramidNet, {}, 28.3, 0.2),
    "MobileNetV1, ImageNet": (MobileNetV1, dict(num_classes=1000, stem_stride=2), 4.2, 0.05),
    "MobileNetV1, CIFAR-10": (MobileNetV1, {}, 3.22, 0.01),
}
SLIM = {
    # Not 8: oneDNN of torch 2.14 crashes on AVX-512 in the gradient of a 1 x 1 convolution of
    # stride 2 from 8 channels in channels-last memory, from 48 pixels on.
    "resnet18": lambda: ResNet(width=16),
    "cifar resnet": lambda: CifarResNet(depth=8),
    "resnet50": lambda: ResNet(depth=50, width=16, num_classes=10),
    "wrn": lambda: WideResNet(depth=10, widen=1),
    "pyramidnet": lambda: PyramidNet(depth=20, alpha=12),
    "mobilenet": lambda: MobileNetV1(width=0.25),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_as_many_parameters_as_published(name):
    cls, settings, millions, tolerance = PUBLISHED[name]
    with torch.device("meta"):
        count = sum(p.numel() for p in cls(**settings).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=tolerance)


def test_resnet_for_imagenet_is_torchvisions():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs, ours = resnet18().eval(), ResNet(num_classes=1000, stem="imagenet").eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("name", SLIM)
@pytest.mark.parametrize("side", [32, 64])
def test_gives_class_scores_and_a_gradient_to_every_parameter(name, side):
    model = SLIM[name]().to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, side, side).to(memory_format=torch.channels_last)
    scores = model(images)
    assert scores.shape == (2, 10) and scores.isfinite().all()
    scores.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_pyramidnet_widens_evenly():
    widths = [block.conv1.out_channels for block in PyramidNet(depth=20, alpha=18).blocks]
    assert widths == [18, 20, 22, 24, 26, 28, 30, 32, 34]


def test_depths_that_do_not_exist_are_refused():
    with pytest.raises(AusamError, match=r"6n \+ 4, found 20"):
        WideResNet(depth=20)
    with pytest.raises(AusamError, match=r"6n \+ 2, found 22"):
        PyramidNet(depth=22)


def test_a_cifar_resnet_of_another_depth_than_6n_plus_2_is_refused():
    with pytest.raises(AusamError, match="6n . 2 .* found 18"):
        CifarResNet(depth=18)


def test_the_shortcut_of_a_cifar_resnet_takes_every_second_pixel_and_pads_with_zeros():
    block = CifarResNet(depth=8, width=4).layer2[0].eval()
    torch.nn.init.zeros_(block.bn2.weight)  # the branch gives nothing
    x = torch.rand(1, 4, 6, 6)
    y = block(x)
    assert y.shape == (1, 8, 3, 3)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any() and not y[:, 6:].any()
