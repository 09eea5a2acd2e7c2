"""Table 3, Tiny-ImageNet, MobileNetV1, row SGD.

Images are enlarged from 64 to 224 pixels on the device, after augmentation (bilinear), as the paper
resizes them; so cutout and crop are in pixels of the original.
"""

_base_ = [
    "../../_base_/classification_runtime.py",
    "../../_base_/datasets/tiny_imagenet.py",
    "../../_base_/models/mobilenetv1.py",
    "../../_base_/schedules/sgd_200e.py",
]

model = dict(
    data_preprocessor=dict(**_base_.data_preprocessor, size=224),  # noqa: F821
    net=dict(num_classes=200, stem_stride=2),
)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=0.0005))
