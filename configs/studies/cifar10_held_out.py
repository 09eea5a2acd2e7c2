"""Not in the paper: the images of the study of 2,500, and 10,000 other training images to score on,
which the studies do not train on: what is chosen here is not chosen by the test set."""

_base_ = ["./cifar10_2500.py"]

held_out = dict(train=True, part=[10_000, 20_000])
val_dataloader = dict(dataset=held_out)
test_dataloader = dict(dataset=held_out)
model = dict(data_preprocessor=dict(test=held_out))
