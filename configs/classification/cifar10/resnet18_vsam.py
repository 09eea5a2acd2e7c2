"""CIFAR-10, ResNet-18, vSAM: by the same authors, in none of the tables."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="VSAM", rho=0.05, warmup_steps=1173))
# warmup_steps: 3 epochs of 391 batches.
