"""Table 6, ResNet-18 (slim), row QAT+SAM; rho of Table 10. Steps are not perturbed."""

_base_ = ["./resnet18_slim_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.05, exclude=[r"\bstep$"]))
