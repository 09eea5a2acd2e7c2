"""Does a second pass pay for poses of 350 persons, with Adam at its best rate?

As `pose_350`, where the rate is not that of `pose_lspet` but Adam's best (`pose_350_adam`); all
other arms take it over. ρ is SAM's, chosen by `pose_350_tuned_rho` on other persons.
"""

from studies.pose_350 import budget, metric, references, samples  # noqa: F401
from studies.shared.poses import adam, arms_at

config = "configs/studies/pose_350_tuned.py"
place, headline = 3, "late_sam_own"
seeds = range(10)
arms = arms_at(0.8)
# SAM late in the run at its own best rate (`pose_350_late_rate`) instead of Adam's.
OWN = adam(2)["options"]
for name in ("late_sam", "late_random", "late_ausam"):
    label = f"{arms[name]['label']}, own rate"
    arms[f"{name}_own"] = dict(arms[name], label=label, options=OWN)

found = """
**Not known yet.** With one seed late SAM is 0.3 above Adam.
"""
limits = """
One seed of two arms; the others are not run. ρ is the larger of two that were tried.
"""
