"""Table 6, ResNet-18 (3 x 3 stem), row QAT+SGD."""

_base_ = [
    "../_base_/qat_runtime.py",
    "../_base_/datasets/cifar10.py",
    "../_base_/models/resnet18_w2a4.py",
    "../_base_/schedules/qat_100e.py",
]

float_config = "configs/qat/resnet18_cifar_float.py"
model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    float_checkpoint="work_dirs/resnet18_cifar_float/epoch_200.pth",
)
