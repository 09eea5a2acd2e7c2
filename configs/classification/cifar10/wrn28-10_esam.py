"""Table 2, CIFAR-10, WideResNet-28-10, row ESAM, settings of its authors' runs."""

_base_ = ["./wrn28-10_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="ESAM", rho=0.1, beta=0.5, gamma=0.5))
