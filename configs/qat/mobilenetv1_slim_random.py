"""Not in Table 6: MobileNetV1 (slim), SAM on half of each batch, drawn at random."""

_base_ = ["./mobilenetv1_slim_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(selection=dict(_delete_=True, type="UniformSelection", alpha=0.5)),
)
