"""CIFAR-10, ResNet-18, AUSAM-0.5 with GSAM: in no paper."""

_base_ = ["./resnet18_ausam-0.5.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="GSAM", rho=0.1, alpha=0.4))
