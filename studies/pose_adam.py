"""Which learning rate suits Adam, for poses?

As `pose_lspet`, on 1,400 of its training persons; PCKh@0.5 on the other 300, which no run of that
study is scored on.
"""

from studies.shared.poses import adam

config = "configs/studies/pose_held_out.py"
samples = 1_400
budget = 16 * samples
place, chooses, takes = 29, "the learning rate for `pose_lspet`", "rate_1"
seeds = range(2)
metric = "PCK"
references = ["rate_1"]
arms = {"rate_half": adam(0.5), "rate_1": adam(1), "rate_2": adam(2)}

found = """
0.006: twice as much has the same mean (0.0 ± 1.5, two seeds), half as much is 1.5 ± 5.9 worse.
"""
limits = """
Two seeds, factors of two; larger rates were not tried, and the number of epochs was given.
"""
