"""Which learning rate suits SAM late in the run, for poses of 350 persons?

As `pose_350_adam`, with SAM in the last quarter at Adam's cost: a method may want another rate than
its base optimizer, and each gets its own. ρ as found by `pose_350_rho` and `pose_350_tuned_rho`.
"""

from studies.pose_350_adam import budget, config, metric, samples  # noqa: F401
from studies.shared.poses import arms_at, rate

place, takes = 31, "rate_2"
chooses = "the learning rate of late SAM for `pose_350_tuned`"
seeds = range(2)
references = ["rate_1"]
late_sam = arms_at(0.8)["late_sam"]
arms = {
    f"rate_{times}": dict(
        late_sam, label=f"SAM, last quarter, rate {times * 6e-3:g}", options=rate(times)
    )
    for times in (1, 2, 4)
}

found = """
0.012, half of Adam's: over 0.006 by 0.2 ± 1.2, over 0.024 by 0.2 ± 6.5 (two seeds).
"""
limits = """
Two seeds, which hardly tell the three rates apart; factors of two.
"""
