"""Not in the paper: as `cifar10_held_out.py`, with SGD's own best settings."""

_base_ = ["./cifar10_held_out.py"]

optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=4e-3))
