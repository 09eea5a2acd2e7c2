"""CIFAR-10, ResNet-18, AUSAM-0.5 with AE-SAM: in no paper."""

_base_ = ["./resnet18_ausam-0.5.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="AESAM", rho=0.1, lambda_1=-1.0, lambda_2=1.0))
