"""Ways to choose that were tried against chance in `studies/cifar10_which.py`.

Here and not in the core, which ships what has won or what the paper compares with. Each is a
selection of one's own, as any project may register it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ausam_core import GradientNormSelection
from ausam_core.mmengine import SELECTIONS
from ausam_core.step_result import StepResult


@SELECTIONS.register_module()
class RisingSelection(GradientNormSelection):
    """AUSAM by the signed difference: only a loss that rises under ε makes a sample likely."""

    kind = "rising"

    def observed(self, result: StepResult) -> Tensor | None:
        if super().observed(result) is None or result.after is None or result.before is None:
            return None
        return result.after - result.before


@SELECTIONS.register_module()
class EasiestSelection(GradientNormSelection):
    """AUSAM turned round: the samples with the smallest differences are the likely ones."""

    kind = "easiest"

    def observed(self, result: StepResult) -> Tensor | None:
        difference = super().observed(result)
        return None if difference is None else -difference


@SELECTIONS.register_module()
class HardestFirstSelection(GradientNormSelection):
    """A share by chance, largest scores first: ``SAM(ascent=…)`` climbs by these.

    Only samples that ascend are scored; those without a score come first.
    """

    kind = "hardest_first"

    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        count = self._count(len(indices), epoch)
        kept = torch.randperm(len(indices), generator=generator)[:count]
        scores = self.scores.of(indices[kept]).nan_to_num(nan=torch.inf)
        return kept[scores.argsort(descending=True, stable=True)]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "order": "hardest first"}
