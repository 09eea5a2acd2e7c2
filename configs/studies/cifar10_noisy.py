"""Not in the paper: 2,500 training images of CIFAR-10, 40 % of their labels wrong; the settings of
SGD are those that `studies/cifar10_sgd_noisy.py` found best on held-out training images."""

_base_ = ["./cifar10_2500.py"]

noise = dict(wrong_labels=0.4)
train_dataloader = dict(dataset=noise)
model = dict(data_preprocessor=dict(train=noise))
optim_wrapper = dict(optimizer=dict(lr=0.4, weight_decay=4e-3))
