"""1,500 + 150 sport images of `tests/data/pose`, in the form of MPII, at 64 x 64."""

codec = dict(type="SimCCLabel", input_size=(64, 64), sigma=4.0, simcc_split_ratio=2.0)

train_pipeline = [
    dict(type="LoadPoseImage"),
    dict(type="GetBBoxCenterScale"),
    dict(type="RandomFlip", direction="horizontal"),
    dict(type="RandomBBoxTransform", shift_prob=0.0, scale_factor=(0.75, 1.25), rotate_factor=30.0),
    dict(type="TopdownAffine", input_size=codec["input_size"]),
    dict(type="GenerateTarget", encoder=codec),
    dict(type="PackPoseInputs"),
]
val_pipeline = [
    dict(type="LoadPoseImage"),
    dict(type="GetBBoxCenterScale"),
    dict(type="TopdownAffine", input_size=codec["input_size"]),
    dict(type="PackPoseInputs"),
]

data_root = "{{ fileDirname }}/../../../tests/data/pose/lspet/"  # from any working directory
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="ZeroBasedMpiiDataset",
        data_root=data_root,
        ann_file="annotations/lspet_train.json",
        data_prefix=dict(img="images/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="ZeroBasedMpiiDataset",
        data_root=data_root,
        ann_file="annotations/lspet_val.json",
        headbox_file=f"{data_root}annotations/lspet_gt_val.mat",
        data_prefix=dict(img="images/"),
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="MpiiPCKAccuracy")
test_evaluator = val_evaluator
