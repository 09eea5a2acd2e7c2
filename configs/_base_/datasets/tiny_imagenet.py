"""Tiny-ImageNet on the device: 64 x 64, augmented as CIFAR (the paper says no more than cutout)."""

_base_ = ["./cifar10.py"]

train_data = dict(name="tiny_imagenet", root="data/tiny_imagenet")
test_data = dict(name="tiny_imagenet", root="data/tiny_imagenet")

data_preprocessor = dict(
    train=train_data,
    test=test_data,
    mean=[122.4786, 114.2755, 101.3963],  # of the training images
    std=[70.4924, 68.5679, 71.8127],
)
train_dataloader = dict(dataset=train_data)
val_dataloader = dict(dataset=test_data)
test_dataloader = dict(dataset=test_data)
