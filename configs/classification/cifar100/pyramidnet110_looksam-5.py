"""Table 2, CIFAR-100, PyramidNet-110, row LookSAM-5; alpha 0.7 as in every implementation."""

_base_ = ["./pyramidnet110_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="LookSAM", rho=0.2, k=5, alpha=0.7))
