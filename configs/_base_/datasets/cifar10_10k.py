"""10,000 training images of CIFAR-10 (its first batch file) and its whole test split, for two CPU
cores: `data/cifar10_10k/cifar-10-batches-py` holds data_batch_1, test_batch and batches.meta alone,
or links to them."""

_base_ = ["./cifar10.py"]

train_data = dict(root="data/cifar10_10k", check_digest=False)
test_data = dict(root="data/cifar10_10k", check_digest=False)
data_preprocessor = dict(train=train_data, test=test_data)
train_dataloader = dict(dataset=train_data)
val_dataloader = dict(dataset=test_data)
test_dataloader = dict(dataset=test_data)
