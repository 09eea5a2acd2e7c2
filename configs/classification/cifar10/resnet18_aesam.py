"""CIFAR-10, ResNet-18, AE-SAM: announced in Section 4.1 of the paper, in none of its tables."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="AESAM", rho=0.1, lambda_1=-1.0, lambda_2=1.0))
