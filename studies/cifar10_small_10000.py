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
place, headline = 4, "late_sam"
seeds = range(5)
rho = RHO
arms = {name: arms_at(RHO)[name] for name in KEPT}

found = """
**Nowhere: SGD does not fit them, and is best at its cost.** After 60 epochs SGD gets 77 % of its
training images right, and 69.9 % of the test images. SAM in the last quarter is 1.3 ± 0.6 behind,
half batches there 2.0 ± 0.5 (AUSAM) and 2.2 ± 0.5 (chance), half batches from the first epoch on
7.3 ± 0.9 and 7.2 ± 0.7: what they gain in flatness they lose in fit. SAM of as many epochs, at
twice the cost, is not above SGD either (−0.7 ± 1.3; five seeds).
"""
limits = """
The same small network as with 2,500 images, which it fits; settings are those chosen there. A
larger network, or many more epochs, may fit these too; what late SAM does then is not known.
"""
