"""Does a second pass pay where 40 % of the labels are wrong, and does a score seek them out?

As `cifar10_small_2500`, but 1,000 of the 2,500 training labels are wrong, the same in every run,
each other class alike (`configs/studies/cifar10_noisy.py`); scores on training data are against
these labels. "Wrong labels chosen": their share among the samples of batches that were chosen from.
"""

from studies.cifar10_small_2500 import (  # noqa: F401
    KEPT,
    RHO,
    budget,
    metric,
    references,
    samples,
)
from studies.cifar10_small_2500 import arms as all_arms

config = "configs/studies/cifar10_noisy.py"
seeds = range(5)
rho = RHO
arms = {name: all_arms[name] for name in KEPT}
