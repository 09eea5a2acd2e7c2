"""Not in the paper: the images of the study of 2,500, and the 2,500 training images after them to
evaluate on: what is chosen here is not chosen by the test set."""

_base_ = ["./cifar10_2500.py"]

held_out = dict(train=True, part=[2_500, 5_000])
val_dataloader = dict(dataset=held_out)
test_dataloader = dict(dataset=held_out)
model = dict(data_preprocessor=dict(test=held_out))
