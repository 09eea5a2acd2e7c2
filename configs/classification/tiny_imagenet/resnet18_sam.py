"""Table 3, Tiny-ImageNet, ResNet-18, row SAM."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.1))
