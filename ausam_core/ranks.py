"""What DistributedDataParallel leaves to a method.

DDP averages gradients while a backward pass computes them, and nothing else: not those of batches
in ``no_sync()``, not what a method derives from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel


@torch.no_grad()
def average(model: nn.Module, tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their mean over the ranks, in place; one all-reduce, in fp32.

    Args:
        model: gives the process group; nothing happens where it is not wrapped in DDP.
        tensors: on every rank as many, in the same shapes.
    """
    if not isinstance(model, DistributedDataParallel) or not tensors:
        return
    flat = torch.cat([tensor.float().flatten() for tensor in tensors])
    dist.all_reduce(flat, group=model.process_group)
    flat /= dist.get_world_size(model.process_group)
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
