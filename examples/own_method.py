"""A method of one's own: the penalty on the gradient norm, on AUSAM's samples.

    python examples/own_method.py --alpha 0.8

Zhao, Zhang, Hu, "Penalizing Gradient Norm for Efficiently Improving Generalization in Deep
Learning" (ICML 2022): descend by ``(1 - alpha) g + alpha g_p``, the gradients at w and at w + eps.
alpha = 1 is SAM, alpha = 0 the base optimizer. Accumulation, loss scale, skipping, DDP, late start
and checkpoint are the base class's.
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

from ausam_core import SAM, GradientNormSelection, SelectiveBatchSampler, StepResult


class GradientNormPenalty(SAM):
    """Descends by a mixture of the gradients at w and at w + eps.

    Args:
        optimizer, model, rho: as for SAM.
        alpha: the share of the gradient at w + eps.
        **kwargs: as for SAM.
    """

    def __init__(self, optimizer, model, rho=0.05, alpha=0.8, **kwargs) -> None:
        super().__init__(optimizer, model, rho, **kwargs)
        self.alpha = alpha

    def gradient(self, passes) -> StepResult:
        first = self.first_pass(passes)
        at_w = {p: g.clone() for p, g in self.local_gradients()}
        climb, second, _ = self.second_pass(passes)
        with torch.no_grad():
            for parameter, gradient in self.local_gradients():
                gradient.mul_(self.alpha).add_(at_w[parameter], alpha=1 - self.alpha)
        return self.perturbed_result(passes, first, second, climb)


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
    parser.add_argument("--alpha", type=float, default=0.8)
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set = cifar10(args.data, "data_batch_*")
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    selection = GradientNormSelection(len(train_set), alpha=0.5)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), args.batch_size, selection)
    sampler.begin_run(args.epochs)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = GradientNormPenalty(optimizer, model, rho=0.1, alpha=args.alpha)

    for epoch in range(args.epochs):
        for batch, (images, labels) in sampler.over(loader):
            images, labels = images.to(device), labels.to(device)
            result = method.step(
                lambda: F.cross_entropy(model(images), labels, reduction="none"), batch=batch
            )
            sampler.record(batch, result)
        print(f"epoch {epoch}: loss {result.loss:.3f}")
    return model


if __name__ == "__main__":
    main()
