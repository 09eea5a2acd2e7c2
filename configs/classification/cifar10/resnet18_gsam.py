"""CIFAR-10, ResNet-18, GSAM: cited, in none of the tables."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="GSAM", rho=0.1, alpha=0.4))
