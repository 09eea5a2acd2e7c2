"""CIFAR-10, ResNet-18, SGD, and AUSAM-0.5 in the last quarter of the epochs: in no paper.

Every step costs what a step of SGD costs.
"""

_base_ = ["./resnet18_ausam-0.5.py"]

train_dataloader = dict(batch_sampler=dict(selection=dict(start_epoch=None)))  # 15 % of the tail
custom_hooks = [dict(type="AugmentationHook"), dict(type="AUSAMHook", start=0.75)]
