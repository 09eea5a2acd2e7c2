"""Not in the paper: Table 5's row AUSAM+Adam with ResNet-50; choices as `simcc_mpii_ausam.py`."""

_base_ = ["./simcc_res50_mpii_adam.py"]

optim_wrapper = dict(type="SAMOptimWrapper", method=dict(type="SAM", rho=0.05))
train_dataloader = dict(
    batch_sampler=dict(
        type="SelectiveBatchSampler",
        selection=dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0),
    )
)
custom_hooks = [*_base_.custom_hooks, dict(type="AUSAMHook")]  # noqa: F821
