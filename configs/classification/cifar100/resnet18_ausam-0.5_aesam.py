"""CIFAR-100, ResNet-18, AUSAM-0.5 with AE-SAM: in no paper."""

_base_ = ["./resnet18_aesam.py"]

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
