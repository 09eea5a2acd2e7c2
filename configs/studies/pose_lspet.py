"""Not in the paper: the quickstart's model on 1,700 training and 300 held-out persons, for studies.

Leeds Sports Pose Extended at `data/lspet`, in the form of MPII. One process reads and trains: runs
stand side by side, one a core.
"""

_base_ = ["../simcc_mpii_adam_mini.py"]

root = "data/lspet/"
reading = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**reading, dataset=dict(data_root=root))
val_dataloader = dict(
    **reading,
    dataset=dict(data_root=root, headbox_file=root + "annotations/lspet_gt_val.mat"),
)
test_dataloader = val_dataloader
# The training persons as they are evaluated, and with targets, so that they have a loss too.
*as_evaluated, pack = _base_.val_pipeline  # noqa: F821
trained_dataloader = dict(
    _base_.val_dataloader,  # noqa: F821
    **reading,
    dataset=dict(
        _base_.val_dataloader.dataset,  # noqa: F821
        data_root=root,
        ann_file="annotations/lspet_train.json",
        headbox_file=root + "annotations/lspet_gt_train.mat",
        pipeline=[
            *as_evaluated,
            dict(type="GenerateTarget", encoder=_base_.codec),  # noqa: F821
            pack,
        ],
    ),
)
