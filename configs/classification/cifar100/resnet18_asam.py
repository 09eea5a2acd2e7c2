"""CIFAR-100, ResNet-18, ASAM: in none of the tables; rho of its paper."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", adaptive=True, rho=1.0))
