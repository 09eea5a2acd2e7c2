"""Table 3, Tiny-ImageNet, ResNet-18, row SGD.

Learning rate and weight decay of this row cannot be read in the paper (Table 8): ResNet-50's here.
"""

_base_ = [
    "../../_base_/classification_runtime.py",
    "../../_base_/datasets/tiny_imagenet.py",
    "../../_base_/models/resnet18.py",
    "../../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=_base_.data_preprocessor,  # noqa: F821
    net=dict(num_classes=200),
)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.001))
