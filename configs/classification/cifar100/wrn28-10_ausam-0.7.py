"""Table 1, CIFAR-100, WideResNet-28-10, row 0.7."""

_base_ = ["./wrn28-10_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(
            _delete_=True,
            type="GradientNormSelection",
            alpha=0.7,
            s_min=0.1,
            s_max=0.5,
            start_epoch=30,
        )
    ),
)
