"""Which radius suits SAM, with 1,000 training images?

SAM trains as many epochs as SGD, at twice the cost, as it is published: the bar that cheaper arms
are held against is as high as it gets. Chosen on 5,000 training images that the study of 1,000 does
not train on; no test image is looked at, and no other arm has its radius chosen.
"""

from studies.cifar10_small_1000 import budget, metric, samples  # noqa: F401
from studies.shared.cifar10_small import radii

config = "configs/studies/cifar10_held_out_1000.py"
place, chooses, takes = 23, "ρ for `cifar10_small_1000`", "rho_0_05"
seeds = range(2)
arms = radii(0.025, 0.05, 0.1, 0.2)
references = ["rho_0_1"]

found = """
0.05, but 0.025 and 0.1 have the same mean (0.0 ± 0.6 and 0.0 ± 7.0 below it); 0.2 is worse.
"""
limits = """
Two seeds, factors of two. The radius is SAM's; another arm may have its best elsewhere.
"""
