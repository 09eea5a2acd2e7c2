"""Quantized training by SGD, settings of Table 10: lr 0.005, weight decay 5e-4, a cosine to 0.

Not in the paper and decided here: 100 epochs, momentum 0.9 (the paper's elsewhere), no decay of
steps, biases and BatchNorm, and LSQ's own scaling of the steps' gradients at the same rate.
"""

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=5)

# fused: can skip a step that is not finite without asking the device whether it is.
optim_wrapper = dict(
    type="SAMOptimWrapper",
    constructor="QuantizationOptimWrapperConstructor",
    paramwise_cfg=dict(step_lr_mult=1.0),
    method=dict(type="Base"),
    optimizer=dict(type="SGD", lr=0.005, momentum=0.9, weight_decay=5e-4, fused=True),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=100, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(base_batch_size=128)  # the whole batch, whatever share of it is trained
