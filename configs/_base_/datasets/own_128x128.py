"""The data of `own_256x256.py` at 128 x 128, in small batches, read by the process that trains."""

_base_ = ["./own_256x256.py"]

codec = dict(_base_.codec, input_size=(128, 128))
train_pipeline, val_pipeline = _base_.train_pipeline, _base_.val_pipeline
train_pipeline[-3].input_size = val_pipeline[-2].input_size = codec["input_size"]
train_pipeline[-2].encoder = codec
reading = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**reading, batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(**reading, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
