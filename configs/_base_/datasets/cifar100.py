"""CIFAR-100 on the device: as CIFAR-10, but normalised by its own statistics."""

_base_ = ["./cifar10.py"]

train_data = dict(name="cifar100", root="data/cifar100")
test_data = dict(name="cifar100", root="data/cifar100")

data_preprocessor = dict(
    train=train_data,
    test=test_data,
    mean=[129.304, 124.070, 112.434],  # of the training images
    std=[68.170, 65.392, 70.418],
)
train_dataloader = dict(dataset=train_data)
val_dataloader = dict(dataset=test_data)
test_dataloader = dict(dataset=test_data)
