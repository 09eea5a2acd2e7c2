"""Not in the paper: trained on the images and labels of `cifar10_noisy.py`, and scored on 10,000
other training images, with their right labels, which the studies do not train on."""

_base_ = ["./cifar10_held_out.py"]

noise = dict(wrong_labels=0.4)
train_dataloader = dict(dataset=noise)
model = dict(data_preprocessor=dict(train=noise))
