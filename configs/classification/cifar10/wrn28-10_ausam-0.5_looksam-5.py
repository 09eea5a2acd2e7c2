"""CIFAR-10, WideResNet-28-10, AUSAM-0.5 with LookSAM-5: in no paper."""

_base_ = ["./wrn28-10_ausam-0.5.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="LookSAM", rho=0.1, k=5, alpha=0.7))
