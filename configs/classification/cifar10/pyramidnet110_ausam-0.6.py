"""Table 2, CIFAR-10, PyramidNet-110, row AUSAM-0.6."""

_base_ = ["./pyramidnet110_sam.py"]

train_dataloader = dict(
    batch_sampler=dict(
        selection=dict(
            _delete_=True,
            type="GradientNormSelection",
            alpha=0.6,
            s_min=0.1,
            s_max=1.0,
            start_epoch=30,
        )
    ),
)
