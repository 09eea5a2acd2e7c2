"""Table 2, CIFAR-10, PyramidNet-110, row ESAM, settings of its authors' runs."""

_base_ = ["./pyramidnet110_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="ESAM", rho=0.2, beta=0.5, gamma=0.5))
