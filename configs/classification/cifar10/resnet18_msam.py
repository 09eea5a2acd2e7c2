"""CIFAR-10, ResNet-18, SAM along the momentum (MSAM), one pass a step: in no paper."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="MSAM", rho=0.3))
