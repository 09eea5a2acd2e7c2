"""Table 3, Tiny-ImageNet, ResNet-50, row SAM."""

_base_ = ["./resnet50_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.1))
