"""Does a second pass pay in training with 2-bit weights?

Top-1 on the test set of ResNet-20 with 2-bit weights and 4-bit activations, trained on the whole of
CIFAR-10 from published float weights of 91.7 % (`configs/studies/resnet20_w2a4.py`), as long as 4
epochs of SGD. ρ and learning rate are the paper's of Table 10, not chosen here.
"""

config = "configs/studies/resnet20_w2a4.py"
samples = 50_000
budget = 4 * samples
place, headline = 6, "late_sam"
seeds = range(3)
metric = "accuracy/top1"
references = ["sgd", "sam"]

# Quantization steps are not perturbed.
SAM = dict(type="SAM", rho=0.05, exclude=[r"\bstep$"])
HALF = dict(type="UniformSelection", alpha=0.5)
AUSAM = dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=0.5)

arms = {
    "sgd": dict(label="SGD"),
    "sam": dict(label="SAM", method=SAM),
    "random": dict(label="SAM on a random half", method=SAM, selection=HALF),
    "ausam": dict(label="AUSAM", method=SAM, selection=AUSAM),
    "late_sam": dict(label="SAM, last third", method=SAM, start=2 / 3),
    "late_ausam": dict(label="AUSAM, last third", method=SAM, selection=AUSAM, start=2 / 3),
}

found = """
**Nothing shown yet.** SGD alone ends at 89.6 ± 0.1 over three seeds after 4 epochs, 2.1 below the
float weights. Of the others, one seed each, none is a point away: SAM on a random half +0.3, AUSAM
0.0, both late arms and SAM below. Nothing yet says that a second pass pays in so short a training.
"""
limits = """
One seed of every arm but SGD, so no difference is certain; four epochs; nothing tuned.
"""
