"""Which radius suits SAM, with 2,500 training images and SGD's best settings?

As `cifar10_rho`, where learning rate and weight decay are those that `cifar10_sgd` found: SAM
trains as many epochs as SGD, at twice the cost. No test image is looked at, and no other arm has
its radius chosen.
"""

from studies.cifar10_small_2500 import budget, metric, samples  # noqa: F401
from studies.shared.cifar10_small import radii

config = "configs/studies/cifar10_held_out_tuned.py"
place, chooses, takes = 21, "ρ for `cifar10_tuned_2500`", "rho_0_1"
seeds = range(2)
arms = radii(0.025, 0.05, 0.1, 0.2)
references = ["rho_0_05"]

found = """
0.1, over a quarter of that by 1.4 ± 4.3, over half by 1.3 ± 0.9, over twice by 1.5 ± 1.6 (two
seeds): at SGD's best settings SAM of twice the cost gains 1.6 points on the held-out images over
what SGD has there (`cifar10_sgd`), where it gained 2.4 at the paper's (seed 0).
"""
limits = """
Two seeds. The radius is SAM's; another arm may have its best elsewhere.
"""
