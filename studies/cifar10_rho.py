"""Which radius suits SAM, of four?

Chosen on training images that the studies on 2,500 and 10,000 images do not use to compare: trained
on the first 2,500, evaluated on the 2,500 after them. No test image is looked at, and no other arm
has its radius chosen.
"""

from studies.cifar10_small_2500 import budget, metric, samples  # noqa: F401

config = "configs/studies/cifar10_held_out.py"
seeds = range(2)
arms = {
    f"rho_{str(value).replace('.', '_')}": dict(
        label=f"SAM, ρ = {value}", method=dict(type="SAM", rho=value)
    )
    for value in (0.025, 0.05, 0.1, 0.2)
}
references = ["rho_0_1"]

limits = """
The smallest of the radii is the best, so the best one may be smaller still: at SGD's cost SAM
trains half the epochs, and a large radius costs it more than it gives. Two seeds.
"""
