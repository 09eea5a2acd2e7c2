"""What does it cost to train for an engine that adds integers?

As the arm SGD of `qat_resnet20`, where also the sums of residual blocks are rounded, to 8 bits, and
the weights of the first and the last layer have 7: then no convolution and no sum of the exported
file is computed in floats.
"""

from studies.qat_resnet20 import budget, metric, samples  # noqa: F401

config = "configs/studies/resnet20_w2a4_integers.py"
place = 8
seeds = range(3)
arms = {"sgd": dict(label="SGD")}
references = ["sgd"]
