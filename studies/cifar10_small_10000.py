"""Where does a second pass pay, with 10,000 training images?

As `cifar10_tuned_2500`, with its settings, on the first 10,000 training images and as long as 60
epochs of SGD, in which SGD does not fit them all: the other side of that study.
"""

from studies.cifar10_small_2500 import metric, references  # noqa: F401
from studies.cifar10_tuned_2500 import RHO
from studies.shared.cifar10_small import KEPT, arms_at

config = "configs/studies/cifar10_10000.py"
samples = 10_000
budget = 60 * samples
place = 4
seeds = range(5)
rho = RHO
arms = {name: arms_at(RHO)[name] for name in KEPT}
