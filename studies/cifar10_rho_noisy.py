"""Which radius suits SAM where 40 % of the labels are wrong, at SGD's best settings?

As `cifar10_rho_tuned`, on the training images and labels of `cifar10_noisy`; scored on other
training images, with their right labels. No other arm has its radius chosen.
"""

from studies.cifar10_small_2500 import budget, metric, samples  # noqa: F401
from studies.shared.cifar10_small import radii

config = "configs/studies/cifar10_held_out_noisy_tuned.py"
seeds = range(2)
arms = radii(0.05, 0.1, 0.2, 0.4)
references = ["rho_0_05"]
