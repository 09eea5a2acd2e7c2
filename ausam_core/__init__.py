"""AUSAM: Sharpness-Aware Minimization on the samples that matter.

A plain PyTorch loop uses it in five changed lines::

    selection = GradientNormSelection(len(train_set), alpha=0.5, s_min=0.1, s_max=1.0)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), batch_size=128, selection=selection)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.05)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for images, labels in loader:
            result = method.step(lambda: F.cross_entropy(model(images), labels, reduction="none"))
            sampler.record(result)

A *method* is how a batch becomes an update (``Base``, ``SAM``, ``LookSAM``, …); a *selection* is
which samples of the batch are used (``AllSamples``, ``UniformSelection``,
``GradientNormSelection``, ``InfoBatchSelection``). Any two go together. This package needs torch
only; ``ausam_core.mmengine`` plugs it into MMEngine.
"""

from ausam_core import torch_losses  # noqa: F401  registers
from ausam_core.batch import Batch, Weights
from ausam_core.batch_norm import RunningStatistics
from ausam_core.batch_sampler import SelectiveBatchSampler
from ausam_core.errors import AusamError
from ausam_core.losses import ForwardRecord
from ausam_core.methods import (
    AESAM,
    ESAM,
    GSAM,
    MESA,
    SAF,
    SAM,
    VSAM,
    Base,
    LookSAM,
    Method,
    StepResult,
)
from ausam_core.passes import in_second_pass
from ausam_core.per_sample_loss import PerSampleLossRecorder, register_per_sample_loss
from ausam_core.perturbation import Perturbation
from ausam_core.scores import Scores
from ausam_core.selection import (
    AllSamples,
    GradientNormSelection,
    InfoBatchSelection,
    Selection,
    UniformSelection,
)

__all__ = [
    "AESAM",
    "ESAM",
    "GSAM",
    "MESA",
    "SAF",
    "SAM",
    "VSAM",
    "AllSamples",
    "AusamError",
    "Base",
    "Batch",
    "ForwardRecord",
    "GradientNormSelection",
    "InfoBatchSelection",
    "LookSAM",
    "Method",
    "PerSampleLossRecorder",
    "Perturbation",
    "RunningStatistics",
    "Scores",
    "Selection",
    "SelectiveBatchSampler",
    "StepResult",
    "UniformSelection",
    "Weights",
    "in_second_pass",
    "register_per_sample_loss",
]
