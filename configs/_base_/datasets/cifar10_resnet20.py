"""CIFAR-10 as the published ResNet-20 was trained on it: crop and flip, no cutout.

Mean and deviation are those of ImageNet (Idelbayev, pytorch_resnet_cifar10), in units of a pixel
value.
"""

_base_ = ["./cifar10.py"]

data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], augmentation=dict(cutout=0)
)
