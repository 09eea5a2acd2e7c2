"""Does a second pass pay for pose estimation?

PCKh@0.5 on 300 held-out persons of Leeds Sports Pose Extended after training on 1,700, the
quickstart's SimCC network at 96 x 96, from ImageNet weights, Adam
(`configs/studies/pose_lspet.py`). Not comparable with MPII: other joints, derived head boxes. The
rate is Adam's and ρ is SAM's, chosen by `pose_adam` and `pose_rho` on other persons.
"""

config = "configs/studies/pose_lspet.py"
samples = 1_700
budget = 16 * samples
seeds = range(5)
metric = "PCK"
references = ["adam", "sam_2"]

SAM = dict(type="SAM", rho=0.05)
HALF = dict(type="UniformSelection", alpha=0.5)
AUSAM = dict(type="GradientNormSelection", alpha=0.5, s_min=0.1, s_max=1.0)

arms = {
    "adam": dict(label="Adam"),
    "sam": dict(label="SAM", method=SAM),
    "late_sam": dict(label="SAM, last quarter", method=SAM, start=0.75),
    "random": dict(label="SAM on a random half", method=SAM, selection=HALF),
    "ausam": dict(label="AUSAM", method=SAM, selection=AUSAM),
    "late_ausam": dict(label="AUSAM, last quarter", method=SAM, selection=AUSAM, start=0.75),
    "late_random": dict(label="random half, last quarter", method=SAM, selection=HALF, start=0.75),
    "late_random_half": dict(label="random half, last half", method=SAM, selection=HALF, start=0.5),
    # As many epochs as Adam, as papers compare.
    "sam_2": dict(label="SAM, as many epochs", method=SAM, times=2),
}
