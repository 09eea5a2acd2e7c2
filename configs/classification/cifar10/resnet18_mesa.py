"""Table 2, CIFAR-10, ResNet-18, row MESA (copied there from its paper), settings of its authors'
README."""

_base_ = ["./resnet18_sgd.py"]

optim_wrapper = dict(
    method=dict(_delete_=True, type="MESA", lam=0.8, tau=5.0, decay=0.9998, start_step=1955)
)
# start_step: 5 epochs of 391 batches.
