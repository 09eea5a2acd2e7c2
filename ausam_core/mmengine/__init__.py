"""AUSAM in MMEngine: importing this registers its parts in MMEngine's root registries.

``custom_imports = dict(imports=['ausam_core.mmengine'], allow_failed_imports=False)`` in a config
does so; the types are then found from any ``default_scope``.
"""

from ausam_core.mmengine import loss_handlers  # noqa: F401  registers
from ausam_core.mmengine.batch_norm_hook import BatchNormReestimationHook
from ausam_core.mmengine.batch_sampler import SelectiveBatchSampler
from ausam_core.mmengine.build import METHODS, SELECTIONS, build_method, build_selection
from ausam_core.mmengine.checkpoint import (
    allow_mmengine_checkpoints,
    check_checkpoint,
    newest_whole_checkpoint,
)
from ausam_core.mmengine.exact_resume import ExactResumeHook
from ausam_core.mmengine.hook import AUSAMHook
from ausam_core.mmengine.optim_wrapper import SAMAmpOptimWrapper, SAMOptimWrapper

allow_mmengine_checkpoints()

__all__ = [
    "METHODS",
    "SELECTIONS",
    "AUSAMHook",
    "BatchNormReestimationHook",
    "ExactResumeHook",
    "SAMAmpOptimWrapper",
    "SAMOptimWrapper",
    "SelectiveBatchSampler",
    "allow_mmengine_checkpoints",
    "build_method",
    "build_selection",
    "check_checkpoint",
    "newest_whole_checkpoint",
]
