"""Not in the paper: Table 5's row Adam in minutes, from ImageNet weights, on Leeds images."""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/lspet_sample_128x128.py",
    "./_base_/models/simcc_lite0.py",
    "./_base_/schedules/adam_24e.py",
]

# An image is read in a tenth of the time that it is trained in: all cores train.
reading = dict(num_workers=0, persistent_workers=False)
val_dataloader = test_dataloader = reading
train_dataloader = dict(**reading, batch_size=16)
default_hooks = dict(logger=dict(interval=40), checkpoint=dict(interval=5, max_keep_ckpts=2))
custom_hooks = [*_base_.custom_hooks, dict(type="ChannelsLastHook")]  # noqa: F821
randomness = dict(seed=0)  # two runs on one machine give one result
