"""Run by torchrun from test_distributed.py: a plain loop over a quantized network, on two ranks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ausam_core import SAM, GradientNormSelection, SelectiveBatchSampler
from tasks.qat import STEPS, adapt_to_method, calibrate, hold_weights, quantize
from tasks.qat.network import QuantizedNetwork
from tests.leave import leave
from tests.tasks.qat.nets import CLASSES, build, images

State = dict[str, Tensor]
UPDATES, BATCH = 4, 16


def batch(update: int) -> tuple[Tensor, Tensor]:
    return images(BATCH, size=8, seed=300 + update), torch.arange(BATCH) % CLASSES


def without_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


def calibrated(model: nn.Module, seed: int = 200) -> QuantizedNetwork:
    network = quantize(model, images(2, size=8))
    calibrate(network, [images(size=8, seed=seed + i) for i in range(2)])
    return network.train()


def sam(network: QuantizedNetwork, model: nn.Module) -> SAM:
    """SAM around the network, which may be wrapped."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    method = SAM(optimizer, model, rho=0.05, exclude=[STEPS])
    adapt_to_method(network, method)
    return method


def on_batches(build: Callable[[], nn.Module], share: slice, wrapped: bool) -> State:
    """SAM on a share of each of the same few batches."""
    network = calibrated(build())
    model = DistributedDataParallel(network) if wrapped else network
    method = sam(network, model)
    for update in range(UPDATES):
        x, y = (part[share] for part in batch(update))
        method.step(lambda x=x, y=y: F.cross_entropy(model(x), y, reduction="none"))
    return network.state_dict()


def held() -> tuple[State, State]:
    """Two updates of everything, the state then, and that after two with held weights."""
    network = calibrated(build())
    model = DistributedDataParallel(network, find_unused_parameters=True)
    method = sam(network, model)
    states = []
    for update in range(UPDATES):
        if update == UPDATES // 2:
            states.append({name: value.clone() for name, value in network.state_dict().items()})
            hold_weights(network)
        x, y = (part[dist.get_rank() :: 2] for part in batch(update))
        method.step(lambda x=x, y=y: F.cross_entropy(model(x), y, reduction="none"))
    return states[0], network.state_dict()


def ausam(broadcast_buffers: bool) -> tuple[State, State]:
    """Two epochs of AUSAM: the state that DDP starts from, and the one at the end.

    Each rank calibrates on images of its own.
    """
    data = TensorDataset(images(64, size=8), torch.arange(64) % CLASSES)
    network = calibrated(build(), seed=200 + 50 * dist.get_rank())
    model = DistributedDataParallel(network, broadcast_buffers=broadcast_buffers)
    start = {name: value.clone() for name, value in network.state_dict().items()}
    method = sam(network, model)
    selection = GradientNormSelection(64, alpha=0.5, start_epoch=1)
    sampler = SelectiveBatchSampler(DistributedSampler(data), 8, selection)
    sampler.begin_run(2)
    for _ in range(2):
        for part, (x, y) in sampler.over(DataLoader(data, batch_sampler=sampler)):
            result = method.step(
                lambda x=x, y=y: F.cross_entropy(model(x), y, reduction="none"), batch=part
            )
            sampler.record(part, result)
    return start, network.state_dict()


def main(folder: str) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    rank = dist.get_rank()
    found = {
        "the same": on_batches(build, slice(None), wrapped=True),
        "half each": on_batches(without_norm, slice(rank, None, 2), wrapped=True),
        "held": held(),
        "AUSAM": ausam(broadcast_buffers=True),
        "AUSAM, statistics apart": ausam(broadcast_buffers=False),
    }
    torch.save(found, Path(folder) / f"rank{rank}.pt")
    leave()


if __name__ == "__main__":
    main(sys.argv[1])
