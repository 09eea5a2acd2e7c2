"""Table 2, CIFAR-100, WideResNet-28-10, row AUSAM-0.5."""

_base_ = ["./wrn28-10_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(
            _delete_=True,
            type="GradientNormSelection",
            alpha=0.5,
            s_min=0.1,
            s_max=0.5,
            start_epoch=30,
        )
    ),
)
