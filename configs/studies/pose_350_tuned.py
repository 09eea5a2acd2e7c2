"""Not in the paper: as `pose_350.py`, with the learning rate of Adam that
`studies/pose_350_adam.py` found best on other persons."""

_base_ = ["./pose_350.py"]

optim_wrapper = dict(optimizer=dict(lr=0.024))
