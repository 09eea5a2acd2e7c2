"""AUSAM in an MMEngine project of one's own: one line.

    python examples/mmengine_project.py --out work_dirs/example

The line is ``custom_hooks``. Model, loop, optimizer wrapper and data are as they were. The faster
form, which chooses before loading, is two more lines; see the guide to MMEngine.
"""

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import TensorDataset

import ausam_core.mmengine  # noqa: F401  makes the hook known; in a config: custom_imports


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


class Classifier(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.loss = network(), nn.CrossEntropyLoss()

    def forward(self, images: torch.Tensor, labels: torch.Tensor, mode: str = "tensor") -> Any:
        scores = self.net(images)
        if mode == "loss":
            return dict(loss=self.loss(scores, labels))
        return scores if mode == "tensor" else [(scores.argmax(1), labels)]


class Accuracy(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [(int((found == y).sum()), len(y)) for found, y in data_samples]

    def compute_metrics(self, results: list) -> dict:
        right, total = map(sum, zip(*results, strict=True))
        return dict(accuracy=right / total)


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--out", default="work_dirs/example")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)

    def loader(files: str, shuffle: bool) -> dict:
        return dict(
            batch_size=args.batch_size,
            sampler=dict(type="DefaultSampler", shuffle=shuffle),
            dataset=cifar10(args.data, files),
            collate_fn=dict(type="default_collate"),
        )

    runner = Runner(
        model=dict(type=Classifier),  # built by the runner, after it has set the seed
        work_dir=args.out,
        train_dataloader=loader("data_batch_*", shuffle=True),
        val_dataloader=loader("test_batch", shuffle=False),
        train_cfg=dict(by_epoch=True, max_epochs=args.epochs),
        val_cfg=dict(),
        val_evaluator=[Accuracy()],
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9)),
        custom_hooks=[dict(type="AUSAMHook", rho=0.1, alpha=0.5)],
        resume=args.resume,
        randomness=dict(seed=0),
    )
    runner.train()
    return runner.model


if __name__ == "__main__":
    main()
