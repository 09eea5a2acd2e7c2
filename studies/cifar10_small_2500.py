"""Where does a second pass pay, with 2,500 training images?

Top-1 on the whole test set of CIFAR-10 after training on its first 2,500 images, at 16 x 16, a
residual network of 75,000 parameters (`configs/studies/cifar10_2500.py`). Every arm spends as many
sample passes as 160 epochs of SGD, in which SGD fits the training images; arms at 2 spend twice as
many, which is what SAM costs where it trains as many epochs as SGD.
"""

# Chosen once, for SAM, by studies/cifar10_rho.py on training images that no run here sees.
RHO = 0.1

config = "configs/studies/cifar10_2500.py"
samples = 2_500
budget = 160 * samples
seeds = range(5)
metric = "accuracy/top1"
references = ["sgd", "sam", "sam_2"]
rho = RHO

SAM = dict(type="SAM", rho=RHO)
LOOKSAM = dict(type="LookSAM", rho=RHO, k=5)
SPLIT = dict(type="SAM", rho=RHO, ascent=1 / 3)
HALF = dict(type="UniformSelection", alpha=0.5)
THREE_QUARTERS = dict(type="UniformSelection", alpha=0.75)
AUSAM = dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=0.5)
EL2N = dict(type="EL2NSelection", alpha=0.5, s_min=0.1, s_max=0.5)

arms = {
    "sgd": dict(label="SGD"),
    "sam": dict(label="SAM", method=SAM),
    "random": dict(label="SAM on a random half", method=SAM, selection=HALF),
    "ausam": dict(label="AUSAM", method=SAM, selection=AUSAM),
    "late_sam": dict(label="SAM, last quarter", method=SAM, start=0.75),
    "late_sam_half": dict(label="SAM, last half", method=SAM, start=0.5),
    "late_random": dict(label="random half, last quarter", method=SAM, selection=HALF, start=0.75),
    "late_ausam": dict(label="AUSAM, last quarter", method=SAM, selection=AUSAM, start=0.75),
    "late_el2n": dict(label="half by EL2N, last quarter", method=SAM, selection=EL2N, start=0.75),
    "split": dict(label="¾ kept, ⅓ of it ascends", method=SPLIT, selection=THREE_QUARTERS),
    "late_split": dict(
        label="¾ kept, ⅓ ascends, last quarter",
        method=SPLIT,
        selection=THREE_QUARTERS,
        start=0.75,
    ),
    "ausam_1": dict(label="AUSAM-1", method=SAM, selection=dict(AUSAM, estimate="latest")),
    "ausam_weighted": dict(
        label="AUSAM, importance weights", method=SAM, selection=dict(AUSAM, importance=True)
    ),
    "looksam": dict(label="LookSAM-5", method=LOOKSAM),
    "ausam_looksam": dict(label="AUSAM × LookSAM-5", method=LOOKSAM, selection=AUSAM),
    "msam": dict(label="Momentum-SAM", method=dict(type="MSAM")),
    # As many epochs as SGD, as papers compare; and SGD for the same cost.
    "sam_2": dict(label="SAM, as many epochs", method=SAM, times=2),
    "sgd_2": dict(label="SGD, twice the epochs", times=2),
}

# What the larger and the noisy data are tried with, and what gets all seeds here: SGD, SAM, a
# random half and AUSAM, and what two seeds of every arm say is worth it.
KEPT = ("sgd", "sam", "random", "ausam", "late_sam", "late_random", "late_ausam", "split", "sam_2")
