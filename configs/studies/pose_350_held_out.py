"""Not in the paper: as `pose_350.py`, scored on 300 training persons of `pose_lspet.py` whom it
does not train on, so that nothing is chosen by the persons that the study is scored on."""

_base_ = ["./pose_held_out.py"]

train_dataloader = dict(dataset=dict(indices=350))
trained_dataloader = dict(dataset=dict(indices=350))
