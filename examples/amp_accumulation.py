"""AUSAM with autocast, a loss scaler, gradient accumulation and clipping.

    python examples/amp_accumulation.py --dtype bfloat16 --accumulate 4
    python examples/amp_accumulation.py --dtype float16          # with a loss scaler

The method scales, unscales, clips and steps; the loop only says when. The climb needs no unscaling,
because ``g/||g||`` does not depend on the scale. Each of the accumulated batches climbs by its own
gradient; their gradients at the perturbed weights are averaged.
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
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--accumulate", type=int, default=2, help="batches an update")
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set = cifar10(args.data, "data_batch_*")
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    # bfloat16 has the range of float32 and needs no scaler; a disabled one is ignored.
    scaler = torch.amp.GradScaler(device.type, enabled=args.dtype == "float16")

    selection = GradientNormSelection(len(train_set), alpha=0.5)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), args.batch_size, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.1, scaler=scaler, clip_grad_norm=1.0)

    for epoch in range(args.epochs):
        for done, (batch, (images, labels)) in enumerate(sampler.over(loader), start=1):
            images, labels = images.to(device), labels.to(device)

            def loss_of_each() -> torch.Tensor:
                with torch.autocast(device.type, getattr(torch, args.dtype)):
                    return F.cross_entropy(model(images), labels, reduction="none")

            result = method.accumulate(loss_of_each, batch=batch, factor=1 / args.accumulate)
            sampler.record(batch, result)
            # What is left at the end of an epoch makes a smaller update.
            if done % args.accumulate == 0 or done == len(loader):
                method.update()
        skipped = method.check()  # updates that were not finite: usual in float16, at first
        print(f"epoch {epoch}: loss {result.loss:.3f}, skipped {skipped}")
    return model


if __name__ == "__main__":
    main()
