"""Table 1, CIFAR-100, ResNet-18, row 0.4."""

_base_ = ["./resnet18_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(
            _delete_=True,
            type="GradientNormSelection",
            alpha=0.4,
            s_min=0.1,
            s_max=0.5,
            start_epoch=30,
        )
    ),
)
