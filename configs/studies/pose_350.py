"""Not in the paper: as `pose_lspet.py`, on the first 350 of its training persons: few enough that
the network comes to fit them."""

_base_ = ["./pose_lspet.py"]

train_dataloader = dict(dataset=dict(indices=350))
trained_dataloader = dict(dataset=dict(indices=350))
