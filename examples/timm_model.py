"""AUSAM with a model, an optimizer and a schedule of timm.

    python examples/timm_model.py
    python examples/timm_model.py --model vit_tiny_patch16_224 --size 32 --pretrained

timm's losses give a mean, and a selection learns from each sample: ``F.cross_entropy`` with
``label_smoothing`` and ``reduction="none"`` is timm's ``LabelSmoothingCrossEntropy``, sample by
sample. For timm's ``Mixup``, which pairs the samples of a batch, see mixup.py.
"""

# A step calls its closure before the loop goes on, so the closure may use the loop's variables.
# ruff: noqa: B023

import argparse
import pickle
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
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


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--model", default="resnet10t")
    parser.add_argument("--opt", default="adamw", help="any of timm's that needs no closure")
    parser.add_argument("--size", type=int, help="image size, for models that have to know it")
    parser.add_argument("--pretrained", action="store_true")
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set = cifar10(args.data, "data_batch_*")
    size = {"img_size": args.size} if args.size else {}
    model = timm.create_model(args.model, args.pretrained, num_classes=10, **size).to(device)
    optimizer = create_optimizer_v2(model, opt=args.opt, lr=1e-3, weight_decay=0.05)
    schedule = CosineLRScheduler(optimizer, t_initial=args.epochs, warmup_t=1, warmup_lr_init=1e-5)

    selection = GradientNormSelection(len(train_set), alpha=0.5)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), args.batch_size, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    # Dropout and drop path take the same decisions in both passes, so that what is recorded of a
    # sample is the perturbation's doing.
    method = SAM(optimizer, model, rho=0.05, clip_grad_norm=1.0, replay_random_state=True)

    for epoch in range(args.epochs):
        schedule.step(epoch)
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(device), labels.to(device)
            result = method.step(
                lambda: F.cross_entropy(
                    model(images), labels, reduction="none", label_smoothing=0.1
                ),
                batch=batch,
            )
            sampler.record(batch, result)
        print(f"epoch {epoch}: loss {result.loss:.3f}")
    return model


if __name__ == "__main__":
    main()
