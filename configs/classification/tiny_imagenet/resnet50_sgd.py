"""Table 3, Tiny-ImageNet, ResNet-50, row SGD."""

_base_ = [
    "../../_base_/classification_runtime.py",
    "../../_base_/datasets/tiny_imagenet.py",
    "../../_base_/models/resnet50.py",
    "../../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    net=dict(num_classes=200),
)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.001))
