"""Table 5, row AUSAM+Adam, at 224 x 224 as the paper's text says (Table 9 says 256 x 256)."""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/mpii_224x224.py",
    "./_base_/models/simcc_hrnet-w32.py",
    "./_base_/schedules/adam_210e.py",
]

model = dict(
    head=dict(
        input_size=(224, 224), in_featuremap_size=(56, 56), decoder=dict(input_size=(224, 224))
    )
)
optim_wrapper = dict(type="SAMOptimWrapper", method=dict(type="SAM", rho=0.05))
train_dataloader = dict(
    batch_sampler=dict(
        type="SelectiveBatchSampler",
        selection=dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0),
    )
)
custom_hooks = [*_base_.custom_hooks, dict(type="AUSAMHook")]  # noqa: F821
