"""AUSAM with DistributedDataParallel: several processes, one training.

    torchrun --nproc-per-node 2 examples/ddp.py --checkpoint FOLDER

The inner sampler is a ``DistributedSampler`` and each rank's share of a batch loses half of its
samples. ``over(loader)`` begins each epoch on the inner sampler too, and at its end the ranks
exchange what they learned. Each rank saves a file of its own, because random state is its own.
"""

# A step calls its closure before the loop goes on, so the closure may use the loop's variables.
# ruff: noqa: B023

import argparse
import os
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ausam_core import SAM, GradientNormSelection, SelectiveBatchSampler


def cifar10(folder: str, files: str) -> TensorDataset:
    """Images ``[n, 3, 32, 32]`` in [-1, 1] and labels, of the files that are there."""
    found = sorted(Path(folder, "cifar-10-batches-py").glob(files))
    batches = [pickle.loads(file.read_bytes(), encoding="latin1") for file in found]
    pixels = torch.cat([torch.from_numpy(batch["data"]) for batch in batches])
    labels = torch.tensor([label for batch in batches for label in batch["labels"]])
    return TensorDataset(pixels.view(-1, 3, 32, 32) / 127.5 - 1, labels)


def network() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50, help="of all ranks")
    parser.add_argument("--stop-after", type=int, help="break off after so many epochs")
    parser.add_argument("--checkpoint", type=Path, help="folder; resumed where it holds files")
    args = parser.parse_args(argv)

    gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpu else "gloo")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    torch.manual_seed(0)
    train_set = cifar10(args.data, "data_batch_*")
    model = DistributedDataParallel(network().to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)

    selection = GradientNormSelection(len(train_set), alpha=0.5)
    own_share = args.batch_size // dist.get_world_size()
    sampler = SelectiveBatchSampler(DistributedSampler(train_set), own_share, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    # All ranks climb by the averaged gradient; perturb="local" saves one all-reduce a step.
    method = SAM(optimizer, model, rho=0.1)

    file = args.checkpoint and args.checkpoint / f"rank{dist.get_rank()}.pth"
    if file and file.exists():
        state = torch.load(file, weights_only=True)
        model.module.load_state_dict(state["model"])
        sampler.load_state_dict(state["sampler"])
        method.load_state_dict(state["method"])

    for epoch in range(sampler.epoch, args.stop_after or args.epochs):
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(device), labels.to(device)
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"), batch=batch
            )
            sampler.record(batch, result)
        print(f"epoch {epoch}, rank {dist.get_rank()}: loss {result.loss:.3f}")
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            state = {"model": model.module.state_dict()}
            state |= {"sampler": sampler.state_dict(), "method": method.state_dict()}
            torch.save(state, file)
    return model


if __name__ == "__main__":
    main()
    dist.destroy_process_group()
