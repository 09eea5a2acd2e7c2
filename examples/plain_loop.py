"""AUSAM in a plain PyTorch loop: CIFAR-10, killed and resumed as if nothing had been.

    python examples/plain_loop.py                                  # a sample of 250 images
    python examples/plain_loop.py --data FOLDER --epochs 200 --checkpoint run.pth

FOLDER holds ``cifar-10-batches-py``. Run the second command again after a crash: it goes on with
the epoch that was broken off, and on the CPU ends with the weights of a run that was never broken.
"""

# A step calls its closure before the loop goes on, so the closure may use the loop's variables.
# ruff: noqa: B023

import argparse
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

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


@torch.no_grad()
def accuracy(model: nn.Module, data: TensorDataset, device: torch.device) -> float:
    model.eval()
    right = [
        (model(images.to(device)).argmax(1).cpu() == labels).float().sum()
        for images, labels in DataLoader(data, 256)
    ]
    model.train()
    return float(sum(right)) / len(data)


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--stop-after", type=int, help="break off after so many epochs")
    parser.add_argument("--checkpoint", type=Path, help="saved each epoch, resumed where it exists")
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set, test_set = cifar10(args.data, "data_batch_*"), cifar10(args.data, "test_batch")
    model = network().to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)

    # AUSAM: half of each batch is chosen, before it is loaded; the rest is never read.
    selection = GradientNormSelection(len(train_set), alpha=0.5)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), args.batch_size, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.1)

    if args.checkpoint and args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        schedule.load_state_dict(state["schedule"])
        sampler.load_state_dict(state["sampler"])
        method.load_state_dict(state["method"])  # optimizer and random state too

    for epoch in range(sampler.epoch, args.stop_after or args.epochs):
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(device), labels.to(device)
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"), batch=batch
            )
            sampler.record(batch, result)
        schedule.step()
        method.check()  # ends the run where nothing but NaN comes out of it
        right = accuracy(model, test_set, device)
        print(f"epoch {epoch}: loss {result.loss:.3f}, accuracy {right:.3f}")
        if args.checkpoint:
            state = {"model": model.state_dict(), "schedule": schedule.state_dict()}
            state |= {"sampler": sampler.state_dict(), "method": method.state_dict()}
            torch.save(state, args.checkpoint.with_suffix(".new"))
            args.checkpoint.with_suffix(".new").replace(args.checkpoint)  # never half a file
    print(f"the work of {method.cost.passes / len(train_set):.2f} epochs of the base optimizer")
    return model


if __name__ == "__main__":
    main()
