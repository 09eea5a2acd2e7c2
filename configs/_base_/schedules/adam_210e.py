"""Adam for 210 epochs, ten times slower from 170 and again from 200, with MMPose's warm-up.

The warm-up of 500 iterations is MMPose's habit and not in the SimCC authors' recipe. MMPose sums
the SimCC loss over the batch, so weight decay weighs 1/64 of what it would with a mean.
"""

train_cfg = dict(by_epoch=True, max_epochs=210, val_interval=10)

# fused: can skip a step that is not finite without asking the device whether it is.
optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3, weight_decay=1e-4, fused=True)
)
param_scheduler = [
    dict(type="LinearLR", begin=0, end=500, start_factor=0.001, by_epoch=False),
    dict(type="MultiStepLR", begin=0, end=210, milestones=[170, 200], gamma=0.1, by_epoch=True),
]
auto_scale_lr = dict(base_batch_size=64)  # the whole batch, whatever share of it is trained
