"""Table 2, CIFAR-100, ResNet-18, row LookSAM-5; alpha 0.7 as in every implementation."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="LookSAM", rho=0.1, k=5, alpha=0.7))
