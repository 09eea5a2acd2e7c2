"""Adam for a network that begins with ImageNet weights: 24 epochs, for minutes on two CPU cores.

Batch size and learning rate were chosen on 300 persons that were held out of training
(`docs/measured_speed.md`, `studies/pose_adam.py`).
"""

_base_ = ["./adam_mini.py"]

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
