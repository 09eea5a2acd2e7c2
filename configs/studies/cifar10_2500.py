"""Not in the paper: the first 2,500 training images of CIFAR-10, for studies."""

_base_ = ["./cifar10_small.py"]

part = dict(part=[0, 2_500])
train_dataloader = dict(dataset=part)
model = dict(data_preprocessor=dict(train=part))
