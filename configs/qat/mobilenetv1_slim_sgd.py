"""Table 6, MobileNetV1 (slim), row QAT+SGD.

Not in the paper: 10,000 images and a slim network, for two CPU cores.
"""

_base_ = [
    "../_base_/qat_runtime.py",
    "../_base_/datasets/cifar10_10k.py",
    "../_base_/models/mobilenetv1_w2a4.py",
    "../_base_/schedules/qat_100e.py",
]

float_config = "configs/qat/mobilenetv1_slim_float.py"
model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    float_checkpoint="work_dirs/mobilenetv1_slim_float/epoch_30.pth",
    net=dict(width=0.25),
)
train_cfg = dict(max_epochs=12)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=12, by_epoch=True, convert_to_iter_based=True)
]
