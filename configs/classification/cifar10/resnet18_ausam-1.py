"""Section 3.2 and Figure 1, CIFAR-10, ResNet-18: AUSAM-1, by the latest difference (Eq. 7)."""

_base_ = ["./resnet18_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(
            _delete_=True,
            type="GradientNormSelection",
            alpha=0.5,
            s_min=0.1,
            s_max=0.5,
            start_epoch=30,
            estimate="latest",
        )
    ),
)
