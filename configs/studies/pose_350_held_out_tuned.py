"""Not in the paper: as `pose_350_held_out.py`, with Adam's own best learning rate."""

_base_ = ["./pose_350_held_out.py"]

optim_wrapper = dict(optimizer=dict(lr=0.024))
