"""Not in Table 6: a SimCC pose network at W4A4, row QAT+AUSAM; s_min and s_max of the float run."""

_base_ = ["./simcc_mini_w4a4_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        type="SelectiveBatchSampler",
        selection=dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0),
    )
)
custom_hooks = [*_base_.custom_hooks, dict(type="AUSAMHook")]  # noqa: F821
