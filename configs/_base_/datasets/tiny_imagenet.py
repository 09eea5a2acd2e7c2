"""Tiny-ImageNet on the device, batch 128: 64 x 64, augmented as CIFAR."""

train_data = dict(name="tiny_imagenet", root="data/tiny_imagenet", train=True)
test_data = dict(name="tiny_imagenet", root="data/tiny_imagenet", train=False)

data_preprocessor = dict(
    type="DevicePreprocessor",
    train=train_data,
    test=test_data,
    mean=[122.4786, 114.2755, 101.3963],  # of the training images
    std=[70.4924, 68.5679, 71.8127],
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
