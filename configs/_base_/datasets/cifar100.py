"""CIFAR-100 on the device, batch 128: as CIFAR-10, but normalised by its own statistics."""

train_data = dict(name="cifar100", root="data/cifar100", train=True)
test_data = dict(name="cifar100", root="data/cifar100", train=False)

data_preprocessor = dict(
    type="DevicePreprocessor",
    train=train_data,
    test=test_data,
    mean=[129.304, 124.070, 112.434],  # of the training images
    std=[68.170, 65.392, 70.418],
    augmentation=dict(padding=4, flip=True, cutout=16, cutout_probability=0.5),
)

# Samples are numbers, so there is nothing for a worker to do.
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="SelectiveBatchSampler", selection=dict(type="AllSamples")),
    dataset=dict(type="IndexDataset", **train_data),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(type="IndexDataset", **test_data),
    collate_fn=dict(type="default_collate"),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="Accuracy", topk=(1, 5))
test_evaluator = val_evaluator
