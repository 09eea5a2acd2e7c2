"""Not in the paper: the first 1,000 training images of CIFAR-10, for studies.

Crops shift an image by up to 4 of its 16 pixels: SGD does not fit even so few images.
"""

_base_ = ["./cifar10_small.py"]

part = dict(part=[0, 1_000])
train_dataloader = dict(dataset=part)
model = dict(data_preprocessor=dict(train=part, augmentation=dict(padding=4)))
