"""Which radius suits SAM, with 2,500 training images?

SAM trains as many epochs as SGD, at twice the cost, as it is published: the bar that cheaper arms
are held against is as high as it gets. Chosen on 10,000 training images that no study here trains
on; no test image is looked at, and no other arm has its radius chosen.
"""

from studies.cifar10_small_2500 import budget, metric, samples  # noqa: F401
from studies.shared.cifar10_small import radii

config = "configs/studies/cifar10_held_out.py"
place, chooses, takes = 22, "ρ for `cifar10_small_2500`", "rho_0_2"
seeds = range(2)
arms = radii(0.05, 0.1, 0.2, 0.4)
references = ["rho_0_1"]

found = """
0.2 is best with both seeds. Twice that is worse than any other, and no longer fits the training
images.
"""
limits = """
Two seeds. The radius is SAM's; another arm may have its best elsewhere.
"""
