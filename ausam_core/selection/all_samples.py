"""Every sample of every batch: no selection."""

from __future__ import annotations

import torch
from torch import Tensor

from ausam_core.selection.selection import Selection


class AllSamples(Selection):
    """Trains whole batches, as the base optimizer and SAM do."""

    def select(self, indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        return torch.arange(indices.numel())
