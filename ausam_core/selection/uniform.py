"""SAM+Random and SAM-α: a part of each batch by chance alone.

The control experiment of the AUSAM paper (Table 4, "SAM+Random"; Appendix B.1, "SAM-α").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ausam_core.batch import number_kept
from ausam_core.selection.selection import Selection, check_share, check_share_of_batch


class UniformSelection(Selection):
    """Keeps ⌊αK⌋ samples of each batch, all equally likely, without replacement, from the first
    epoch on.

    Args:
        num_samples: size of the data set; not used, so that selections can be exchanged for one
            another.
        alpha: share α of each batch, in (0, 1].
    """

    def __init__(self, num_samples: int, alpha: float = 0.5) -> None:
        self.alpha = check_share(alpha)

    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        size = indices.numel()
        kept = torch.randperm(size, generator=generator)[: number_kept(self.alpha, size)]
        return kept.sort().values

    def check_batch_size(self, batch_size: int) -> None:
        check_share_of_batch(self.alpha, batch_size)

    def settings(self) -> dict[str, Any]:
        return {"selection": "uniform", "alpha": self.alpha}
