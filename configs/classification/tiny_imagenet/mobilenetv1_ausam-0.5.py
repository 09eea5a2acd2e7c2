"""Table 3, Tiny-ImageNet, MobileNetV1, row AUSAM-0.5."""

_base_ = ["./mobilenetv1_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(
            _delete_=True,
            type="GradientNormSelection",
            alpha=0.5,
            s_min=0.1,
            s_max=1.0,
            start_epoch=30,
        )
    ),
)
