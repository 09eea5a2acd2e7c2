"""Not in the paper: ResNet-20 on the whole of CIFAR-10, in floats."""

_base_ = [
    "../_base_/classification_runtime.py",
    "../_base_/datasets/cifar10_resnet20.py",
    "../_base_/models/resnet20.py",
    "../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
)
