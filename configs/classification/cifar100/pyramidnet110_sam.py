"""Table 2, CIFAR-100, PyramidNet-110, row SAM."""

_base_ = ["./pyramidnet110_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.2))
