"""Not in the paper: Table 5 in minutes, Adam first and AUSAM late, from ImageNet weights.

The quickstart. Beside `simcc_mpii_ausam_mini.py`, which starts from nothing, an image costs 1.75
times as much, and 24 epochs as much as 46.
"""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/lspet_sample_96x96.py",
    "./_base_/models/simcc_lite0.py",
    "./_base_/schedules/adam_mini.py",
]

optim_wrapper = dict(
    type="SAMOptimWrapper",
    method=dict(type="SAM", rho=0.05),
    # What was learned from a million images moves slower than a head that knows nothing.
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))),
)
train_cfg = dict(max_epochs=24, val_interval=5)
param_scheduler = [
    dict(
        type="LinearLR",
        begin=0,
        end=2,
        start_factor=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(type="CosineAnnealingLR", begin=2, end=24, by_epoch=True, convert_to_iter_based=True),
]
train_dataloader = dict(
    batch_sampler=dict(
        type="SelectiveBatchSampler",
        selection=dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0),
    )
)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=5, max_keep_ckpts=2))
custom_hooks = [
    *_base_.custom_hooks,  # noqa: F821
    dict(type="ChannelsLastHook"),
    # First all of each batch, then half of it twice: every step costs what a step of Adam costs.
    dict(type="AUSAMHook", start=0.5),
]
randomness = dict(seed=0)  # two runs on one machine give one result
