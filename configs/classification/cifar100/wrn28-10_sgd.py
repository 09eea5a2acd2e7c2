"""Table 2, CIFAR-100, WideResNet-28-10, row SGD."""

_base_ = [
    "../../_base_/classification_runtime.py",
    "../../_base_/datasets/cifar100.py",
    "../../_base_/models/wrn28-10.py",
    "../../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    net=dict(num_classes=100),
)
