"""Where does a second pass pay, with 10,000 training images?

As `cifar10_small_2500`, on the first 10,000 training images and for 60 epochs of SGD.
"""

from studies.cifar10_small_2500 import RHO, arms, metric, references  # noqa: F401

config = "configs/studies/cifar10_10000.py"
samples = 10_000
budget = 60 * samples
seeds = range(5)
rho = RHO
