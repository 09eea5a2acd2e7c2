"""Not in the paper: Table 5's row AUSAM+Adam in minutes on two cores, on Leeds images."""

_base_ = ["./simcc_mpii_sam_mini.py"]

train_dataloader = dict(
    batch_sampler=dict(
        type="SelectiveBatchSampler",
        selection=dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0),
    )
)
custom_hooks = [*_base_.custom_hooks, dict(type="AUSAMHook")]  # noqa: F821
