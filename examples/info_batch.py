"""InfoBatch: leave out easy samples for an epoch, and let the rest stand for them.

    python examples/info_batch.py                  # SAM+Info of the paper
    python examples/info_batch.py --method Base    # SGD+Info

Batches stay full, so an epoch has fewer of them; a learning-rate schedule counts epochs, not steps.
Samples that stand for others weigh more; the step reads the weights from its batch.
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

import ausam_core
from ausam_core import InfoBatchSelection, SelectiveBatchSampler


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
    parser.add_argument("--method", choices=["Base", "SAM", "LookSAM", "GSAM"], default="SAM")
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set = cifar10(args.data, "data_batch_*")
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)

    # Which loss is remembered and weighted: without a perturbation there is none after it.
    loss = "before" if args.method == "Base" else "after"
    selection = InfoBatchSelection(len(train_set), r=0.5, loss=loss)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), args.batch_size, selection)
    sampler.begin_run(args.epochs)  # in the last eighth nothing is left out
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = getattr(ausam_core, args.method)(optimizer, model)

    for epoch in range(args.epochs):
        steps = trained = 0
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(device), labels.to(device)
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"), batch=batch
            )
            sampler.record(batch, result)
            steps, trained = steps + 1, trained + len(batch)
        schedule.step()
        print(f"epoch {epoch}: {steps} steps, {trained} samples, loss {result.loss:.3f}")
    return model


if __name__ == "__main__":
    main()
