"""Table 3, Tiny-ImageNet, MobileNetV1, row SAM."""

_base_ = ["./mobilenetv1_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.05))
