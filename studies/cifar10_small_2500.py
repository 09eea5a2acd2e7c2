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
place, headline = 11, "late_sam"
seeds = range(5)
metric = "accuracy/top1"
references = ["sgd", "sam", "sam_2"]
rho = RHO

arms = arms_at(RHO)
drawn = [
    *("sgd", "sam", "random", "ausam", "late_sam", "late_random", "late_random_half", "late_ausam"),
    *("split", "sgd_64", "late_half_sgd", "sam_2"),
]

found = """
**Late, it is worth three points, but SGD at its own settings gains more.** At these, which are the
paper's for ResNet-18, SAM on a random half of each batch, in the last half of the run, is 3.2 ± 0.3
points above SGD over five seeds, and level with SAM of as many epochs, which costs twice as much
(+0.1 ± 1.3). But the settings are poor ones here. SGD with batches of 64 is as far above (two
seeds), and the rate and decay that suit it (`cifar10_sgd`) give more than any arm of this study:
what a second pass is worth beside them, `cifar10_tuned_2500` says. Half batches by themselves are
not the reason: SGD on the same halves, without a perturbation, is where SGD is. From the first
epoch on neither a random half nor AUSAM's beats SGD. One seed each: Momentum-SAM is near SGD, and
LookSAM-5 at 43 %, where sharpness is a tenth of SGD's.
"""
limits = """
One small network, one part of one data set, at 16 x 16. Learning rate and weight decay were not
tuned; ρ was, for SAM alone, on held-out training images. Two seeds say little: see how wide those
intervals are.
"""
