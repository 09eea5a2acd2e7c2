"""Not in Table 6: ResNet-20, row QAT+SAM. Steps are not perturbed."""

_base_ = ["./resnet20_cifar_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.05, exclude=[r"\bstep$"]))
