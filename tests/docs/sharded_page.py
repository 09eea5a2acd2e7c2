"""Run by torchrun from test_code_blocks.py: the guide to sharding, as one of its ranks."""

import sys
from pathlib import Path

import torch
from torch import distributed as dist

from tests.docs.pages import SHARDING, run_blocks
from tests.leave import leave

if __name__ == "__main__":
    torch.set_num_threads(1)
    ends = [names["model"] for _, names in run_blocks(SHARDING)]
    weights = [p.full_tensor() for p in ends[0].parameters()]
    file = Path(sys.argv[1]) / f"{dist.get_world_size()}-{dist.get_rank()}.pth"
    torch.save(torch.cat([w.detach().flatten() for w in weights]), file)
    leave()
