"""Not in the paper: Table 5 in minutes, on the upright persons of the Leeds images.

The quickstart. Half of the Leeds images are gymnasts head down, whose poses take longer to learn.
"""

_base_ = ["./simcc_lite0_ausam_mini.py"]

epochs = 48
annotations = "annotations/lspet_upright_"
headboxes = _base_.val_dataloader.dataset.data_root + "annotations/lspet_gt_upright_val.mat"
train_dataloader = dict(dataset=dict(ann_file=annotations + "train.json"))
val_dataloader = dict(dataset=dict(ann_file=annotations + "val.json", headbox_file=headboxes))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=epochs, val_interval=16)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = epochs
