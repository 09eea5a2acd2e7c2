"""CIFAR-10, ResNet-18, AUSAM's draw with EL2N as its score: in no paper."""

_base_ = ["./resnet18_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(_delete_=True, type="EL2NSelection", alpha=0.5, s_min=0.1, s_max=0.5)
    ),
)
