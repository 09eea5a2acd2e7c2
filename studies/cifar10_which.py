"""Late in a run, which samples of a batch should a second pass go to?

As `cifar10_tuned_2500`, whose runs those of SGD, chance, AUSAM, AUSAM-1 and K-SAM are: every arm
but SGD is SAM in the last quarter of the run, at SGD's cost and of as many epochs, and differs from
chance only in how it chooses. A mixture of score and chance is what s_min and s_max of AUSAM set
already, here 1 : 5.
"""

from studies.cifar10_tuned_2500 import RHO, budget, config, metric, samples  # noqa: F401
from studies.shared import trials  # noqa: F401  (registers its selections)
from studies.shared.cifar10_small import AUSAM, arms_at

place, headline = 2, "late_random"
seeds = range(5)
rho = RHO
references = ["sgd", "late_random"]

LATE = dict(method=dict(type="SAM", rho=RHO), start=0.75)
SPLIT = dict(method=dict(type="SAM", rho=RHO, ascent=1 / 3), start=0.75)
known = arms_at(RHO)

arms = {
    "sgd": known["sgd"],
    "late_random": dict(known["late_random"], label="half by chance"),
    "late_ausam": dict(known["late_ausam"], label="half by AUSAM"),
    "late_ausam_1": dict(known["late_ausam_1"], label="half by AUSAM-1"),
    "late_ksam_quarter": dict(known["late_ksam_quarter"], label="hardest third (K-SAM)"),
    "late_el2n": dict(known["late_el2n"], label="half by EL2N"),
    "late_rising": dict(
        label="half by rising loss",
        selection=dict(AUSAM, type="RisingSelection"),
        cost=1,
        **LATE,
    ),
    "late_easiest": dict(
        label="half by AUSAM, reversed",
        selection=dict(AUSAM, type="EasiestSelection"),
        cost=1,
        **LATE,
    ),
    "late_weighted": dict(
        label="half by AUSAM, importance weights",
        selection=dict(AUSAM, importance=True),
        **LATE,
    ),
    # An uneven split: three quarters of a batch descend, a third of them ascends.
    "late_split": dict(known["late_split"], label="¾ by chance, ⅓ of it ascends"),
    "late_split_hardest": dict(
        label="¾ by chance, its hardest ⅓ ascends",
        selection=dict(AUSAM, type="HardestFirstSelection", alpha=0.75),
        cost=1,
        **SPLIT,
    ),
    "late_split_ausam": dict(
        label="¾ by AUSAM, ⅓ of it ascends", selection=dict(AUSAM, alpha=0.75), **SPLIT
    ),
}

found = """
**No way to choose is above chance.** AUSAM's half is level with the random one over five seeds (0.1
± 0.7). Of what was tried with two seeds each nothing is above it in the mean: AUSAM with importance
weights −0.2, AUSAM reversed, which takes the samples that AUSAM avoids, −0.4, the signed difference
and EL2N −0.8. So which half it is hardly matters, unless it is the hardest: over five seeds K-SAM's
third is 1.8 ± 1.3 behind chance; AUSAM-1 is not told apart from chance (−0.1 ± 1.9). To climb by a
third of three quarters of a batch, and descend by all of these, is 0.8 behind the half, whether
chance or the score decides which third that is.
"""
limits = """
Two seeds of seven arms, so differences of a point between them are not certain; a sieve, in which
nothing was left that would have deserved more. One small network and data set; ρ and s_max as in
`cifar10_tuned_2500`. Quotas for each class were not tried.
"""
