"""Table 6, MobileNetV1 (3 x 3 stem), row Full prec."""

_base_ = [
    "../_base_/classification_runtime.py",
    "../_base_/datasets/cifar10.py",
    "../_base_/models/mobilenetv1.py",
    "../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
)
