"""Where does a second pass pay, with 1,000 training images?

Top-1 on the whole test set of CIFAR-10 after training on its first 1,000 images, at 16 x 16, a
residual network of 75,000 parameters, crops that shift an image by up to 4 pixels
(`configs/studies/cifar10_1000.py`). Every arm spends as many sample passes as 120 epochs of SGD;
arms at 2 spend twice as many, which is what SAM costs where it trains as many epochs as SGD.
"""

from studies.shared.cifar10_small import arms_at

# Chosen once, for SAM, by studies/cifar10_rho_1000.py on training images that no run here sees.
RHO = 0.05

config = "configs/studies/cifar10_1000.py"
samples = 1_000
budget = 120 * samples
place, headline = 10, "late_sam"
seeds = range(5)
metric = "accuracy/top1"
references = ["sgd", "sam", "sam_2"]
rho = RHO
arms = arms_at(RHO)

found = """
**Nowhere with certainty: the network does not fit them.** SAM, at twice the cost, is no better than
SGD. At equal cost the means put an uneven split (¾ of a batch kept, of which ⅓ ascends) and a late
second pass on a random half first, SAM and AUSAM from the first epoch on last; AUSAM is behind SAM
that trains as many epochs. A half drawn by score is not better than a half drawn by chance.
"""
limits = """
Three or four seeds. SGD ends at 91 % of the training images: it does not fit them, so these runs
are not those in which SAM is said to pay; with crops half as strong and more images SGD fits, and
the answer is another (`cifar10_small_2500`). Says nothing about larger networks.
"""
