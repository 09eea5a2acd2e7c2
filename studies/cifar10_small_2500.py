"""Where does a second pass pay, with 2,500 training images?

Top-1 on the whole test set of CIFAR-10 after training on its first 2,500 images, at 16 x 16, a
residual network of 75,000 parameters (`configs/studies/cifar10_2500.py`). Every arm spends as many
sample passes as 160 epochs of SGD; arms at 2 spend twice as many, which is what SAM costs where it
trains as many epochs as SGD.
"""

from studies.shared.cifar10_small import arms_at

# Chosen once, for SAM, by studies/cifar10_rho.py on training images that no run here sees.
RHO = 0.2

config = "configs/studies/cifar10_2500.py"
samples = 2_500
budget = 160 * samples
seeds = range(5)
metric = "accuracy/top1"
references = ["sgd", "sam", "sam_2"]
rho = RHO

arms = arms_at(RHO)

# What the larger and the noisy data are tried with, and what gets all seeds here: SGD, SAM, a
# random half and AUSAM, and what the first seeds say is worth it.
KEPT = (
    "sgd",
    "sam",
    "random",
    "ausam",
    "late_random",
    "late_random_half",
    "late_ausam",
    "split",
    "sam_2",
)
