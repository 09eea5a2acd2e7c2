"""Not in the paper: as `cifar10_held_out_noisy.py`, with SGD's own best settings."""

_base_ = ["./cifar10_held_out_noisy.py"]

optim_wrapper = dict(optimizer=dict(lr=0.4, weight_decay=4e-3))
