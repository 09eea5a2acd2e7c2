"""Not in Table 6: ResNet-20, row QAT+AUSAM; s_min and s_max of Table 10."""

_base_ = ["./resnet20_cifar_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(_delete_=True, type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=0.5)
    ),
)
