"""Table 2, CIFAR-10, WideResNet-28-10, row SAM."""

_base_ = ["./wrn28-10_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.1))
