"""Table 6, ResNet-18 (3 x 3 stem), row Full prec."""

_base_ = [
    "../_base_/classification_runtime.py",
    "../_base_/datasets/cifar10.py",
    "../_base_/models/resnet18.py",
    "../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
)
