"""CIFAR-10, ResNet-18, K-SAM with a third of each batch: in no paper with this recipe."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(method=dict(_delete_=True, type="KSAM", rho=0.1))
