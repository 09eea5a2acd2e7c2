"""Not in the paper: Table 5's row Adam with ResNet-50, for GPUs that HRNet-W32 does not fit on."""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/mpii_256x256.py",
    "./_base_/models/simcc_res50.py",
    "./_base_/schedules/adam_210e.py",
]
