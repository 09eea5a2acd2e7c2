"""Not in Table 6: ResNet-20, row QAT+SGD, from published float weights.

The float weights are those of akamaster/pytorch_resnet_cifar10 (91.7 %), of which
`tools/import_weights.py` makes a checkpoint; images are normalised as they were for these.
"""

_base_ = [
    "../_base_/qat_runtime.py",
    "../_base_/datasets/cifar10.py",
    "../_base_/models/resnet20_w2a4.py",
    "../_base_/schedules/qat_100e.py",
]

data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(
    data_preprocessor={**_base_.data_preprocessor, **data_preprocessor},  # noqa: F821
    float_checkpoint="data/checkpoints/resnet20_cifar10.pth",
)
