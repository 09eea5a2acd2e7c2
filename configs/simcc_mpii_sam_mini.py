"""Not in the paper: Table 5's row SAM+Adam in minutes on two cores, on Leeds images (not MPII)."""

_base_ = ["./simcc_mpii_adam_mini.py"]

optim_wrapper = dict(type="SAMOptimWrapper", method=dict(type="SAM", rho=0.05))
