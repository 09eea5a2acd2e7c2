"""Not in the paper: Table 5's row Adam in minutes on two cores, on Leeds images (not MPII)."""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/lspet_sample.py",
    "./_base_/models/simcc_mini.py",
    "./_base_/schedules/adam_mini.py",
]

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=9, max_keep_ckpts=2))
custom_hooks = [*_base_.custom_hooks, dict(type="ChannelsLastHook")]  # noqa: F821
randomness = dict(seed=0)  # two runs on one machine give one result
