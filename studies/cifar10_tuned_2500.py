"""Where does a second pass pay, with 2,500 training images and SGD at its best?

As `cifar10_small_2500`, where learning rate and weight decay are not the paper's for ResNet-18 but
those that suit SGD here (`studies/cifar10_sgd.py`); all other arms take them over. Top-1 on the
whole test set.
"""

from studies.cifar10_small_2500 import KEPT, budget, metric, references, samples  # noqa: F401
from studies.shared.cifar10_small import arms_at

# Chosen once, for SAM, by studies/cifar10_rho_tuned.py on training images that no run here sees.
RHO = 0.1

config = "configs/studies/cifar10_2500_tuned.py"
seeds = range(5)
rho = 0.1
arms = arms_at(RHO)
