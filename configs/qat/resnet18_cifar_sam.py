"""Table 6, ResNet-18 (3 x 3 stem), row QAT+SAM; rho of Table 10. Steps are not perturbed."""

_base_ = ["./resnet18_cifar_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="SAM", rho=0.05, exclude=[r"\bstep$"]))
