"""Not in the paper: as `pose_lspet.py`, trained on 1,400 of its training persons and scored on the
other 300, so that what is chosen is not chosen by the persons that the study is scored on."""

_base_ = ["./pose_lspet.py"]

root = "data/lspet/annotations/"
train_dataloader = dict(dataset=dict(indices=1_400))
held_out = dict(
    ann_file="annotations/lspet_train.json",
    headbox_file=root + "lspet_gt_train.mat",
    indices=list(range(1_400, 1_700)),
)
val_dataloader = dict(dataset=held_out)
test_dataloader = val_dataloader
trained_dataloader = dict(dataset=dict(indices=1_400))
