"""One epoch of AUSAM for each of the other tasks, on a handful of real samples."""

from __future__ import annotations

from pathlib import Path

from tests.tools.study_cases import ROOT

POSE = f"""
_base_ = ["{ROOT}/configs/simcc_mpii_ausam_mini.py"]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, batch_size=8, dataset=dict(indices=16))
val_dataloader = dict(**loader, batch_size=8)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1, val_interval=9)
*as_evaluated, pack = _base_.val_pipeline
trained_dataloader = dict(
    _base_.val_dataloader,
    **loader,
    dataset=dict(
        _base_.train_dataloader.dataset,
        indices=16,
        pipeline=[*as_evaluated, dict(type="GenerateTarget", encoder=_base_.codec), pack],
    ),
)
default_hooks = dict(checkpoint=dict(interval=1))
"""

QAT = f"""
_base_ = ["{ROOT}/configs/qat/resnet18_slim_ausam.py"]
sample = dict(root="{ROOT}/tests/data/cifar10", check_digest=False)
train_dataloader = dict(batch_size=25, dataset=dict(sample, part=[0, 50]))
val_dataloader = dict(dataset=dict(sample, part=[0, 20]))
test_dataloader = val_dataloader
model = dict(
    float_checkpoint=None,
    from_scratch=True,
    data_preprocessor=dict(
        train=dict(sample, part=[0, 50]), test=dict(sample, part=[0, 20])
    ),
)
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(
    checkpoint=dict(interval=1, save_best=None),
    reestimation=dict(batches=2),
    quantization=dict(calibration_batches=2),
)
"""


def train_briefly(task: str, folder: Path) -> Path:
    """Train for one epoch; returns the checkpoint."""
    import train

    config = folder / f"{task}.py"
    config.write_text({"pose": POSE, "qat": QAT}[task])
    train.main([str(config), "--work-dir", str(folder / task)])
    return folder / task / "epoch_1.pth"
