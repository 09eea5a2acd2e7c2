"""CIFAR-10, ResNet-18, SAM on a random three quarters, of which a third ascends: in no paper.

A step costs what a step of SGD costs.
"""

_base_ = ["./resnet18_sam.py"]

optim_wrapper = dict(method=dict(ascent=1 / 3))
train_dataloader = dict(
    batch_sampler=dict(selection=dict(_delete_=True, type="UniformSelection", alpha=0.75)),
)
