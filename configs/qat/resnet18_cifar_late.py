"""Table 6 in none of its rows: ResNet-18 (3 x 3 stem), SGD, and AUSAM in the last quarter."""

_base_ = ["./resnet18_cifar_ausam.py"]

custom_hooks = [dict(type="AugmentationHook"), dict(type="AUSAMHook", start=0.75)]
