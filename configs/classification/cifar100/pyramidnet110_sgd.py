"""Table 2, CIFAR-100, PyramidNet-110, row SGD."""

_base_ = [
    "../../_base_/classification_runtime.py",
    "../../_base_/datasets/cifar100.py",
    "../../_base_/models/pyramidnet110.py",
    "../../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    net=dict(num_classes=100),
)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.0005))
