"""Table 2, CIFAR-10, WideResNet-28-10, row SAF, settings of its authors' README: none are published
for CIFAR."""

_base_ = ["./wrn28-10_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAF", lam=0.3, tau=5.0, start_epoch=5, lag=3))
