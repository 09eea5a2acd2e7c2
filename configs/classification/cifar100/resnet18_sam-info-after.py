"""Table 4, CIFAR-100, ResNet-18, row SAM+Info: InfoBatch by and on the second loss."""

_base_ = ["./resnet18_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(_delete_=True, type="InfoBatchSelection", r=0.5, delta=0.875, loss="after")
    ),
)
# The number of batches changes from epoch to epoch: the schedule counts epochs.
param_scheduler = [dict(type="CosineAnnealingLR", T_max=200, by_epoch=True)]
