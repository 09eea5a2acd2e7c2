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

found = """
**SAM's accuracy at SGD's cost.** SAM on a random half of each batch, in the last half of the run,
is 3.2 ± 0.3 points above SGD over five seeds, and level with SAM of as many epochs, which costs
twice as much (+0.1 ± 1.3). Beginning with the last quarter gives 2.6 ± 0.2; three quarters of each
batch all the way, of which a third ascends, 2.6 ± 1.0. *When* the second pass is spent and *how* a
step's budget is split decide; *which* half does not: from the first epoch on neither a random half
nor AUSAM's beats SGD, since half of each batch is half of the data, and late in the run AUSAM's
half was behind a random one with both seeds that there are.
"""
limits = """
One small network, one part of one data set, at 16 x 16. Learning rate and weight decay are the
paper's for ResNet-18 and were not tuned for any arm; ρ was, for SAM alone, on held-out training
images. Whether SGD with smaller batches or on half batches gains too is asked by arms that have not
run yet, as is EL2N's score. Two seeds say little: see how wide those intervals are.
"""
