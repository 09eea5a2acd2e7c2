"""AUSAM with mixup: what it does, and what its scores then mean.

    python examples/mixup.py --mixup 0.2

Mix outside the closure, so that both passes see the same mixture. ``multiple_of=2`` keeps an even
number of samples, which a mixup that pairs a batch with its own reverse (timm's does) needs.

What is recorded for sample i is how much the loss of *its mixture* moved, half of which may be its
partner's. Partners change from epoch to epoch, so the mean over epochs is still a score of i, but a
noisier one than without mixup; whether it is worth more than ``UniformSelection``, which costs the
same and remembers nothing, has not been measured.
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


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50, help="of one step")
    parser.add_argument("--mixup", type=float, default=0.2, help="alpha of the Beta distribution")
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set = cifar10(args.data, "data_batch_*")
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    selection = GradientNormSelection(len(train_set), alpha=0.5, multiple_of=2)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), args.batch_size, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.1)
    share = torch.distributions.Beta(args.mixup, args.mixup)

    for epoch in range(args.epochs):
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(device), F.one_hot(labels.to(device), 10).float()
            lam = float(share.sample())
            images = lam * images + (1 - lam) * images.flip(0)
            labels = lam * labels + (1 - lam) * labels.flip(0)
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"), batch=batch
            )
            sampler.record(batch, result)
        print(f"epoch {epoch}: {len(batch)} samples of the last batch, loss {result.loss:.3f}")
    return model


if __name__ == "__main__":
    main()
