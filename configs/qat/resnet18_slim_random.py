"""Not in Table 6: ResNet-18 (slim), SAM on half of each batch, drawn at random."""

_base_ = ["./resnet18_slim_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(selection=dict(_delete_=True, type="UniformSelection", alpha=0.5)),
)
