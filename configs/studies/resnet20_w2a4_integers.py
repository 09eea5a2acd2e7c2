"""Not in the paper: as `resnet20_w2a4.py`, for engines that add integers: sums of residual blocks
are sums of 8-bit codes, and the first and the last layer have weights of 7 bits."""

_base_ = ["./resnet20_w2a4.py"]

model = dict(policy=dict(sum_bits=8, first_last=(7, 8)))
