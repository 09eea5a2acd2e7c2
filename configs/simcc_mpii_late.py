"""Not in the paper: Table 5 with Adam on whole batches, and AUSAM in the last quarter.

Every step costs what a step of Adam costs.
"""

_base_ = ["./simcc_mpii_ausam.py"]

custom_hooks = [*_base_.custom_hooks[:-1], dict(type="AUSAMHook", start=0.75)]  # noqa: F821
