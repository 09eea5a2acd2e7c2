"""SAM+Random and SAM-α: a part of each batch by chance alone.

The control experiment of the AUSAM paper (Table 4, "SAM+Random"; Appendix B.1, "SAM-α").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ausam_core.selection.selection import Selection
from ausam_core.selection.share import Share


class UniformSelection(Selection):
    """Keeps ⌊αK⌋ samples of each batch, all equally likely, without replacement, from the first
    epoch on.

    Args:
        num_samples: size of the data set; not used, so that selections can be exchanged for one
            another.
        alpha, multiple_of: see :class:`~ausam_core.selection.share.Share`.
        start: see :class:`~ausam_core.Selection`.
    """

    def __init__(
        self, num_samples: int, alpha: float = 0.5, multiple_of: int = 1, start: float = 0.0
    ) -> None:
        super().__init__(start)
        self.share = Share(alpha, multiple_of)

    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        size = indices.numel()
        return torch.randperm(size, generator=generator)[: self.share.of(size)].sort().values

    def check_batch_size(self, batch_size: int) -> None:
        self.share.check(batch_size)

    def settings(self) -> dict[str, Any]:
        return {"selection": "uniform", "alpha": self.share.alpha}
