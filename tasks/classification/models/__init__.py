"""Networks of the paper's classification experiments. One file a family."""

from tasks.classification.models.cifar_resnet import CifarResNet
from tasks.classification.models.mobilenet import MobileNetV1
from tasks.classification.models.pyramidnet import PyramidNet
from tasks.classification.models.resnet import ResNet
from tasks.classification.models.wide_resnet import WideResNet

__all__ = ["CifarResNet", "MobileNetV1", "PyramidNet", "ResNet", "WideResNet"]
