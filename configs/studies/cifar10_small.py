"""Not in the paper: a residual network for one core, on CIFAR-10 at 16 x 16, for studies.

ResNet-8 of He et al. (three blocks, 16 channels, 75,000 parameters); crop and flip, no cutout; else
as ResNet-18 in Table 7. Crops shift an image by 2 of 16 pixels at most, as is customary by 4 of 32.
At 16 x 16 a run takes minutes, and SGD fits a few thousand images.
"""

_base_ = [
    "../_base_/classification_runtime.py",
    "../_base_/datasets/cifar10.py",
    "../_base_/schedules/sgd_200e.py",
]

model = dict(
    type="Classifier",
    label_smoothing=0.1,
    data_preprocessor=dict(
        _base_.data_preprocessor,  # noqa: F821
        size=16,
        augmentation=dict(padding=2, flip=True, cutout=0),
    ),
    net=dict(type="CifarResNet", depth=8, num_classes=10, width=16),
)
