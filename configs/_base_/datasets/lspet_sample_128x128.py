"""The images of `lspet_sample.py` at 128 x 128; all else as 64 x 64."""

_base_ = ["./lspet_sample.py"]

codec = dict(_base_.codec, input_size=(128, 128), sigma=6.0)
train_pipeline, val_pipeline = _base_.train_pipeline, _base_.val_pipeline
train_pipeline[-3].input_size = val_pipeline[-2].input_size = codec["input_size"]
train_pipeline[-2].encoder = codec
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
