"""A study that trains in seconds, on the small sample of CIFAR-10."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONFIG = f"""
_base_ = ["{ROOT}/configs/studies/cifar10_small.py"]
sample = dict(root="tests/data/cifar10", check_digest=False)
train_dataloader = dict(dataset=dict(sample, part=[0, 100]), batch_size=50)
val_dataloader = dict(dataset=sample)
test_dataloader = dict(dataset=sample)
model = dict(
    data_preprocessor=dict(train=dict(sample, part=[0, 100]), test=sample), net=dict(width=4)
)
"""

STUDY = """
'''Does it run?

On a handful of images.'''

config = "FOLDER/config.py"
samples = 100
budget = 4 * samples
seeds = [0, 1]
metric = "accuracy/top1"
sam = dict(type="SAM", rho=0.1)
arms = {
    "sgd": dict(label="SGD"),
    "sam": dict(label="SAM", method=sam),
    "late": dict(
        label="AUSAM, late",
        method=sam,
        start=0.5,
        selection=dict(type="GradientNormSelection", alpha=0.5),
    ),
}
references = ["sgd", "sam"]
"""


def write_study(folder: Path, text: str = STUDY, config: str = CONFIG) -> Path:
    """The study file and its config, in a folder of their own."""
    (folder / "config.py").write_text(config)
    path = folder / "tiny.py"
    path.write_text(text.replace("FOLDER", str(folder)))
    return path
