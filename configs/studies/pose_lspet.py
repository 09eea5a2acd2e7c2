"""Not in the paper: for studies, the quickstart's network on 1,700 training and 300 other persons.

Leeds Sports Pose Extended at `data/lspet`, in the form of MPII, at 96 x 96. Runs stand side by
side, one a core.
"""

_base_ = ["../simcc_lite0_adam_mini.py"]

root, size = "data/lspet/", (96, 96)
codec = dict(_base_.codec, input_size=size)  # noqa: F821
train_pipeline, val_pipeline = _base_.train_pipeline, _base_.val_pipeline  # noqa: F821
train_pipeline[-3].input_size = val_pipeline[-2].input_size = size
train_pipeline[-2].encoder = codec
model = dict(head=dict(input_size=size, in_featuremap_size=(12, 12), decoder=dict(input_size=size)))
train_dataloader = dict(dataset=dict(data_root=root, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        data_root=root,
        headbox_file=root + "annotations/lspet_gt_val.mat",
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader
# The training persons as they are evaluated, and with targets, so that they have a loss too.
*as_evaluated, pack = val_pipeline
trained_dataloader = dict(
    _base_.val_dataloader,  # noqa: F821
    dataset=dict(
        _base_.val_dataloader.dataset,  # noqa: F821
        data_root=root,
        ann_file="annotations/lspet_train.json",
        headbox_file=root + "annotations/lspet_gt_train.mat",
        pipeline=[*as_evaluated, dict(type="GenerateTarget", encoder=codec), pack],
    ),
)
