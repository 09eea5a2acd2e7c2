"""SGD with momentum 0.9 for 200 epochs, the learning rate a cosine to 0, counted in iterations.

The method is the base optimizer; a child names another one. Learning rate and weight decay are
those of CIFAR's ResNet-18 and WideResNet (Table 7).
"""

train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)

# fused: can skip a step that is not finite without asking the device whether it is.
optim_wrapper = dict(
    type="SAMOptimWrapper",
    method=dict(type="Base"),
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=0.001, fused=True),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=200, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(base_batch_size=128)  # the whole batch, whatever share of it is trained
