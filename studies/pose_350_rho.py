"""Which radius suits SAM, for poses of 350 persons?

As `pose_350_adam`: no person is scored on here whom `pose_350` is scored on. SAM trains as many
epochs as Adam, at twice the cost; no other arm has its radius chosen.
"""

from studies.pose_350_adam import budget, config, metric, samples  # noqa: F401
from studies.shared.cifar10_small import radii

seeds = range(2)
arms = radii(0.05, 0.2, 0.8)
references = ["rho_0_05"]
