"""CIFAR-10, ResNet-18, AUSAM-0.5 with LookSAM-5: in no paper."""

_base_ = ["./resnet18_ausam-0.5.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="LookSAM", rho=0.1, k=5, alpha=0.7))
