"""Not in the paper: Table 5 on data of one's own, in minutes without a GPU (docs/own_pose_data.md).

The quickstart's network and schedule. Copy this file and change the lines between the rulers.
"""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/own_128x128.py",
    "./_base_/models/simcc_lite0.py",
    "./_base_/schedules/adam_24e.py",
]

# --------------------------------------------------------------------------------------------------
num_joints = 14
own = dict(
    data_root="data/own/",
    data_prefix=dict(img="images/"),
    # An MPII list of other joints than MPII's names them here, in order: joints=["left_ear", ...]
)
train_file = "annotations/train.json"
val_file = "annotations/val.json"
# --------------------------------------------------------------------------------------------------

model = dict(head=dict(out_channels=num_joints))
optim_wrapper = dict(type="SAMOptimWrapper", method=dict(type="SAM", rho=0.05))
train_dataloader = dict(
    batch_sampler=dict(
        type="SelectiveBatchSampler", selection=dict(type="UniformSelection", alpha=0.5)
    ),
    dataset=dict(ann_file=train_file, **own),
)
val_dataloader = dict(dataset=dict(ann_file=val_file, **own))
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=40), checkpoint=dict(interval=5, max_keep_ckpts=2))
# First all of each batch, then half of it twice: every step costs what a step of Adam costs.
custom_hooks = [
    *_base_.custom_hooks,  # noqa: F821
    dict(type="ChannelsLastHook"),
    dict(type="AUSAMHook", start=0.75),
]
