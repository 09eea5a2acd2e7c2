"""Table 6, MobileNetV1 (slim), row Full prec.

Not in the paper: 10,000 images and a slim network, for two CPU cores.
"""

_base_ = [
    "../_base_/classification_runtime.py",
    "../_base_/datasets/cifar10_10k.py",
    "../_base_/models/mobilenetv1.py",
    "../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    net=dict(width=0.25),
)
default_hooks = dict(checkpoint=dict(interval=5))
train_cfg = dict(max_epochs=30, val_interval=5)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=30, by_epoch=True, convert_to_iter_based=True)
]
