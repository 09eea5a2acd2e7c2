"""Data of one's own, 256 x 256, in COCO or MPII form; labels and augmentation as for MPII.

PCK counts a joint as found within 5 % of the longer side of the person's box, which for a whole
body is about half a head, as PCKh@0.5 has it.
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

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="OwnPoseDataset", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(type="OwnPoseDataset", test_mode=True, pipeline=val_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="PCKAccuracy", thr=0.05)
test_evaluator = val_evaluator
