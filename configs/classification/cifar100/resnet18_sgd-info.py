"""Table 4, CIFAR-100, ResNet-18, row SGD+Info."""

_base_ = ["./resnet18_sgd.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(_delete_=True, type="InfoBatchSelection", r=0.5, delta=0.875)
    ),
)
# The number of batches changes from epoch to epoch: the schedule counts epochs.
param_scheduler = [dict(type="CosineAnnealingLR", T_max=200, by_epoch=True)]
