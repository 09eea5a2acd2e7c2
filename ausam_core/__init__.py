"""AUSAM: Sharpness-Aware Minimization on the samples that matter.

A plain PyTorch loop uses it in a few changed lines::

    selection = GradientNormSelection(len(train_set), alpha=0.5, s_min=0.1, s_max=1.0)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), batch_size=128, selection=selection)
    sampler.begin_run(epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.05)
    for epoch in range(epochs):
        for batch, (images, labels) in sampler.over(loader):
            loss_of_each = lambda: F.cross_entropy(model(images), labels, reduction="none")
            sampler.record(batch, method.step(loss_of_each, batch=batch))

A *method* is how a batch becomes an update (``Base``, ``SAM``, ``LookSAM``, …); a *selection* is
which samples of the batch are used (``AllSamples``, ``UniformSelection``,
``GradientNormSelection``, ``EL2NSelection``, ``InfoBatchSelection``). Any two go together, from the
first epoch on or late in the run (``start``). This package needs torch only;
``ausam_core.mmengine`` plugs it into MMEngine.
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
    KSAM,
    MESA,
    MSAM,
    SAF,
    SAM,
    VSAM,
    Base,
    LookSAM,
    Method,
)
from ausam_core.passes import in_second_pass
from ausam_core.per_sample_loss import PerSampleLossRecorder, register_per_sample_loss
from ausam_core.perturbation import Perturbation
from ausam_core.scores import Scores
from ausam_core.selection import (
    AllSamples,
    EL2NSelection,
    GradientNormSelection,
    InfoBatchSelection,
    Selection,
    UniformSelection,
    el2n,
)
from ausam_core.step_result import Cost, StepResult

__version__ = "0.2.0"

__all__ = [
    "AESAM",
    "ESAM",
    "GSAM",
    "KSAM",
    "MESA",
    "MSAM",
    "SAF",
    "SAM",
    "VSAM",
    "AllSamples",
    "AusamError",
    "Base",
    "Batch",
    "Cost",
    "EL2NSelection",
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
    "el2n",
    "in_second_pass",
    "register_per_sample_loss",
]
