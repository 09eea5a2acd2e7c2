"""Table 5, row AUSAM+Adam, with the share of its training time: 0.6 of each batch."""

_base_ = ["./simcc_mpii_ausam.py"]

train_dataloader = dict(batch_sampler=dict(selection=dict(alpha=0.6)))
