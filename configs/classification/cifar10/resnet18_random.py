"""Table 4, CIFAR-10, ResNet-18, row SAM+Random (SAM-0.5 of Appendix B.1)."""

_base_ = ["./resnet18_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(selection=dict(_delete_=True, type="UniformSelection", alpha=0.5)),
)
