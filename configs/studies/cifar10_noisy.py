"""Not in the paper: 2,500 training images of CIFAR-10, 40 % of their labels wrong, for studies."""

_base_ = ["./cifar10_2500.py"]

noise = dict(wrong_labels=0.4)
train_dataloader = dict(dataset=noise)
model = dict(data_preprocessor=dict(train=noise))
