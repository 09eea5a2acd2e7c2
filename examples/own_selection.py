"""A selection of one's own: the samples of each batch with the largest loss, and some by chance.

    python examples/own_selection.py --alpha 0.5 --by-chance 0.2

With the base optimizer an epoch costs alpha of its passes, with SAM twice that. Whether the hardest
samples are the ones to train depends on the data: where labels are wrong, they are not.
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

from ausam_core import SAM, Scores, Selection, SelectiveBatchSampler, StepResult


class LargestLoss(Selection):
    """Keeps a share of each batch: most by their last loss, the others by chance.

    Args:
        num_samples: size of the data set.
        alpha: share of a batch that is kept.
        by_chance: share of what is kept that chance decides.
    """

    needs_losses = True

    def __init__(self, num_samples: int, alpha: float = 0.5, by_chance: float = 0.2) -> None:
        super().__init__()
        self.alpha, self.by_chance = alpha, by_chance
        self.scores = Scores(num_samples, "latest")

    def select(self, indices, epoch, generator):
        kept = max(2, int(self.alpha * len(indices)))
        order = torch.randperm(len(indices), generator=generator)  # as many numbers in each case
        losses = self.scores.of(indices).nan_to_num(torch.inf)  # never seen: comes first
        lucky = order[: round(self.by_chance * kept)]
        losses[lucky] = torch.inf
        return losses.topk(kept).indices.sort().values

    def record(self, indices, result: StepResult) -> None:
        self.scores.record(indices, result.before)  # stays on the device until the epoch's end

    def end_epoch(self) -> None:
        self.scores.merge()  # the ranks add up what they saw

    def settings(self) -> dict:
        return {"selection": "largest_loss", "alpha": self.alpha, "by_chance": self.by_chance}

    def state_dict(self) -> dict:
        return {**super().state_dict(), "scores": self.scores.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)  # refuses other settings
        self.scores.load_state_dict(state["scores"])


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
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--by-chance", type=float, default=0.2)
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set = cifar10(args.data, "data_batch_*")
    model = network().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True)
    selection = LargestLoss(len(train_set), args.alpha, args.by_chance)
    sampler = SelectiveBatchSampler(RandomSampler(train_set), args.batch_size, selection)
    loader = DataLoader(train_set, batch_sampler=sampler)
    method = SAM(optimizer, model, rho=0.1)

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
