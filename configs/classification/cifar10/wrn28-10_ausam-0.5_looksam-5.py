"""CIFAR-10, WideResNet-28-10, AUSAM-0.5 with LookSAM-5: in no paper."""

_base_ = ["./wrn28-10_looksam-5.py"]

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
