"""AUSAM with Hugging Face Accelerate.

    accelerate launch examples/accelerate_loop.py
    torchrun --nproc-per-node 2 examples/accelerate_loop.py

Two things differ from a usual Accelerate loop. The model and the optimizer are prepared, the loader
is not: its batch sampler plans the batches and must see them come in its own order; the
``DistributedSampler`` inside gives each process its share. And backward is handed in, because
Accelerate wants to run it.
"""

# A step calls its closure before the loop goes on, so the closure may use the loop's variables.
# ruff: noqa: B023

import argparse
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import distributed as dist
from torch import nn
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
    parser.add_argument("--batch-size", type=int, default=50, help="of all processes")
    args = parser.parse_args(argv)

    # Without a GPU, Accelerate joins the processes of torchrun only where cpu=True is said.
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    set_seed(0)
    train_set = cifar10(args.data, "data_batch_*")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model, optimizer = accelerator.prepare(model, optimizer)

    selection = GradientNormSelection(len(train_set), alpha=0.5)
    processes = accelerator.num_processes
    share = DistributedSampler(train_set, processes, accelerator.process_index)
    sampler = SelectiveBatchSampler(share, args.batch_size // processes, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.1)

    for epoch in range(args.epochs):
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(accelerator.device), labels.to(accelerator.device)
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"),
                batch=batch,
                backward=accelerator.backward,
            )
            sampler.record(batch, result)
        accelerator.print(f"epoch {epoch}: loss {result.loss:.3f}")
    return model


if __name__ == "__main__":
    main()
    if dist.is_initialized():
        dist.destroy_process_group()
