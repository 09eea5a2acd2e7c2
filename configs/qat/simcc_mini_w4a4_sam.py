"""Not in Table 6: a SimCC pose network at W4A4, row QAT+SAM. Steps are not perturbed."""

_base_ = ["./simcc_mini_w4a4_adam.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.05, exclude=[r"\bstep$"]))
