"""Does a second pass pay where 40 % of the labels are wrong, and does a score seek them out?

As `cifar10_tuned_2500`, but 1,000 of the 2,500 training labels are wrong, the same in every run,
each other class alike (`configs/studies/cifar10_noisy.py`); scores on training data are against
these labels. Rate and weight decay are those that suit SGD with such labels
(`studies/cifar10_sgd_noisy.py`). "Wrong labels chosen": their share among the samples of batches
that were chosen from.
"""

from studies.cifar10_small_2500 import budget, metric, references, samples  # noqa: F401
from studies.shared.cifar10_small import KEPT, arms_at

# Chosen once, for SAM, by studies/cifar10_rho_noisy.py on images that no run here sees.
RHO = 0.05

config = "configs/studies/cifar10_noisy.py"
seeds = range(5)
rho = RHO
arms = {name: arms_at(RHO)[name] for name in KEPT}
