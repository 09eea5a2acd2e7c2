"""Table 5, row SAM+Adam: rho 0.05 of Table 9, all else as `simcc_mpii_adam.py`."""

_base_ = ["./simcc_mpii_adam.py"]

optim_wrapper = dict(type="SAMOptimWrapper", method=dict(type="SAM", rho=0.05))
