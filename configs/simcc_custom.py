"""Not in the paper: Table 5's row AUSAM+Adam on data of one's own (docs/own_pose_data.md).

Copy this file and change the lines between the rulers. COCO-keypoint JSON and MPII JSON are told
apart by their content.
"""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/own_256x256.py",
    "./_base_/models/simcc_res50.py",
    "./_base_/schedules/adam_210e.py",
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
        type="SelectiveBatchSampler",
        selection=dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0),
    ),
    dataset=dict(ann_file=train_file, **own),
)
val_dataloader = dict(dataset=dict(ann_file=val_file, **own))
test_dataloader = val_dataloader
# First all of each batch, then half of it twice: every step costs what a step of Adam costs.
custom_hooks = [*_base_.custom_hooks, dict(type="AUSAMHook", start=0.75)]  # noqa: F821
