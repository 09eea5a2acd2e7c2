"""Not in the paper: Table 5 in minutes, Adam first and AUSAM late, from ImageNet weights.

All persons of the quickstart's images; it trains on those who are upright.
"""

_base_ = ["./simcc_lite0_adam_mini.py"]

optim_wrapper = dict(type="SAMOptimWrapper", method=dict(type="SAM", rho=0.05))
train_dataloader = dict(
    batch_sampler=dict(
        type="SelectiveBatchSampler",
        selection=dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0),
    )
)
# First all of each batch, then half of it twice: every step costs what a step of Adam costs.
custom_hooks = [*_base_.custom_hooks, dict(type="AUSAMHook", start=0.75)]  # noqa: F821
