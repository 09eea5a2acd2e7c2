"""MPII, 224 x 224; all else as 256 x 256."""

_base_ = ["./mpii_256x256.py"]

codec = dict(_base_.codec, input_size=(224, 224), sigma=6.0)
train_pipeline, val_pipeline = _base_.train_pipeline, _base_.val_pipeline
train_pipeline[-3].input_size = val_pipeline[-2].input_size = codec["input_size"]
train_pipeline[-2].encoder = codec
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
