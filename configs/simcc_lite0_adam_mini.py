"""Not in the paper: Table 5's row Adam in minutes, from ImageNet weights, on Leeds images.

Batch size and learning rate were chosen on 300 training persons held out.
"""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/lspet_sample_128x128.py",
    "./_base_/models/simcc_lite0.py",
    "./_base_/schedules/adam_mini.py",
]

optim_wrapper = dict(optimizer=dict(lr=6e-3))
auto_scale_lr = dict(base_batch_size=16)
train_cfg = dict(max_epochs=24, val_interval=5)
param_scheduler = [
    dict(
        type="LinearLR",
        begin=0,
        end=1,
        start_factor=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(type="CosineAnnealingLR", begin=1, end=24, by_epoch=True, convert_to_iter_based=True),
]
# An image is read in a tenth of the time that it is trained in: all cores train.
reading = dict(num_workers=0, persistent_workers=False)
val_dataloader = test_dataloader = reading
train_dataloader = dict(**reading, batch_size=16)
default_hooks = dict(logger=dict(interval=40), checkpoint=dict(interval=5, max_keep_ckpts=2))
custom_hooks = [*_base_.custom_hooks, dict(type="ChannelsLastHook")]  # noqa: F821
randomness = dict(seed=0)  # two runs on one machine give one result
