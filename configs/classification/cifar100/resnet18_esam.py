"""Table 2, CIFAR-100, ResNet-18, row ESAM, settings of its authors' runs."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="ESAM", rho=0.05, beta=0.6, gamma=0.5))
