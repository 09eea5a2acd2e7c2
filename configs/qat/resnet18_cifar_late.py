"""Not in the paper: SGD on whole batches, and AUSAM in the last quarter of the epochs."""

_base_ = ["./resnet18_cifar_ausam.py"]

custom_hooks = [dict(type="AugmentationHook"), dict(type="AUSAMHook", start=0.75)]
