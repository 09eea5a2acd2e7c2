"""Adam with a rise and a cosine fall of the learning rate, for minutes on two CPU cores.

No weight decay: so short a run learns too little, not too much.
"""

train_cfg = dict(by_epoch=True, max_epochs=46, val_interval=9)

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3e-3, fused=True))
param_scheduler = [
    dict(
        type="LinearLR",
        begin=0,
        end=3,
        start_factor=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(type="CosineAnnealingLR", begin=3, end=46, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=32)
