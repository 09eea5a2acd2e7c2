"""Not in the paper: the images of the study of 1,000, and 5,000 other training images to score on:
what is chosen here is not chosen by the test set."""

_base_ = ["./cifar10_1000.py"]

held_out = dict(train=True, part=[2_500, 7_500])
val_dataloader = dict(dataset=held_out)
test_dataloader = dict(dataset=held_out)
model = dict(data_preprocessor=dict(test=held_out))
