"""MPII, 256 x 256, SimCC labels with sigma 6 at half pixels; augmentation of the SimCC authors.

Their rotation (30 degrees normal, cut at 60, 6 times in 10) and scale (0.75 to 1.25) stand here in
MMPose's terms; MMPose's own default (80 degrees, 0.5 to 1.5) is stronger.
"""

codec = dict(type="SimCCLabel", input_size=(256, 256), sigma=6.0, simcc_split_ratio=2.0)

train_pipeline = [
    dict(type="LoadPoseImage"),
    dict(type="GetBBoxCenterScale"),
    dict(type="RandomFlip", direction="horizontal"),
    dict(type="RandomBBoxTransform", shift_prob=0.0, scale_factor=(0.75, 1.25), rotate_factor=60.0),
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

data_root = "data/mpii/"
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="ZeroBasedMpiiDataset",
        data_root=data_root,
        ann_file="annotations/mpii_train.json",
        data_prefix=dict(img="images/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="ZeroBasedMpiiDataset",
        data_root=data_root,
        ann_file="annotations/mpii_val.json",
        headbox_file=f"{data_root}annotations/mpii_gt_val.mat",
        data_prefix=dict(img="images/"),
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="MpiiPCKAccuracy")
test_evaluator = val_evaluator
