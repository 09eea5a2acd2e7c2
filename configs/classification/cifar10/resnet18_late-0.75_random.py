"""CIFAR-10, ResNet-18, SGD, and SAM on a random half in the last quarter: in no paper."""

_base_ = ["./resnet18_random.py"]

custom_hooks = [dict(type="AugmentationHook"), dict(type="AUSAMHook", start=0.75)]
