"""Not in the paper: the first 10,000 training images of CIFAR-10, for studies, with the settings of
SGD that `studies/cifar10_sgd.py` found best for 2,500."""

_base_ = ["./cifar10_small.py"]

part = dict(part=[0, 10_000])
train_dataloader = dict(dataset=part)
model = dict(data_preprocessor=dict(train=part))
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=4e-3))
