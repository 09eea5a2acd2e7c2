"""Table 2, CIFAR-10, ResNet-18, row SAF, settings of its authors' README: none are published for
CIFAR."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAF", lam=0.3, tau=5.0, start_epoch=5, lag=3))
