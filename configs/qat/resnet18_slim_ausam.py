"""Table 6, ResNet-18 (slim), row QAT+AUSAM; s_min and s_max of Table 10.

Not in the paper: alpha 0.5, its main setting; s_max is reached after 15 % of the epochs, as in the
authors' code (30 of 200).
"""

_base_ = ["./resnet18_slim_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(_delete_=True, type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=0.5)
    ),
)
