"""Selections: which samples of a batch are trained. One file a selection."""

from ausam_core.selection.all_samples import AllSamples
from ausam_core.selection.el2n import EL2NSelection, el2n
from ausam_core.selection.gradient_norm import GradientNormSelection
from ausam_core.selection.info_batch import InfoBatchSelection
from ausam_core.selection.selection import Selection
from ausam_core.selection.uniform import UniformSelection

__all__ = [
    "EL2NSelection",
    "AllSamples",
    "GradientNormSelection",
    "InfoBatchSelection",
    "Selection",
    "UniformSelection",
    "el2n",
]
