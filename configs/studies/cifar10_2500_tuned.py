"""Not in the paper: as `cifar10_2500.py`, with the settings of SGD that `studies/cifar10_sgd.py`
found best on held-out training images."""

_base_ = ["./cifar10_2500.py"]

optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=4e-3))
