"""AUSAM in Lightning: manual optimization, one process or several.

    python examples/lightning_module.py
    python examples/lightning_module.py --devices 2

Manual optimization, because a step has two passes, with ``manual_backward``. The sampler is a
distributed one already, so ``use_distributed_sampler=False``, and is told when an epoch ends.
Method and selection travel in Lightning's checkpoint.
"""

import argparse
import pickle
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.nn.functional as F
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


class Classifier(lightning.LightningModule):
    def __init__(self, data: TensorDataset, batch_size: int, epochs: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Lightning owns the loop, so each sample brings its number along.
        self.data = TensorDataset(torch.arange(len(data)), *data.tensors)
        self.net, self.batch_size, self.epochs = network(), batch_size, epochs
        self.saved: dict[str, Any] | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    def train_dataloader(self) -> DataLoader:
        processes = self.trainer.world_size
        share = DistributedSampler(self.data, processes, self.trainer.global_rank)
        selection = GradientNormSelection(len(self.data), alpha=0.5)
        self.sampler = SelectiveBatchSampler(share, self.batch_size // processes, selection)
        self.sampler.begin_run(self.epochs)
        if self.saved:
            self.sampler.load_state_dict(self.saved["sampler"])
        return DataLoader(self.data, batch_sampler=self.sampler)

    def on_train_start(self) -> None:
        # With several processes the strategy's model is the one with DDP around it.
        self.method = SAM(self.optimizers(), self.trainer.strategy.model, rho=0.1)
        if self.saved:
            self.method.load_run_state(self.saved["method"])

    def training_step(self, data: list[torch.Tensor], _: int) -> None:
        numbers, images, labels = data
        batch = self.sampler.planned(numbers.tolist())
        result = self.method.step(
            lambda: F.cross_entropy(self.net(images), labels, reduction="none"),
            batch=batch,
            backward=self.manual_backward,
        )
        self.sampler.record(batch, result)
        self.log("loss", result.loss)

    def on_train_epoch_end(self) -> None:
        self.sampler.set_epoch(self.current_epoch + 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = {"method": self.method.run_state(), "sampler": self.sampler.state_dict()}
        checkpoint["ausam"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.saved = checkpoint["ausam"]


def main(argv: list[str] | None = None) -> nn.Module:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tests/data/cifar10")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50, help="of all processes")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--stop-after", type=int, help="break off after so many epochs")
    parser.add_argument("--checkpoint", type=Path, help="saved at the end, resumed where it exists")
    args = parser.parse_args(argv)

    lightning.seed_everything(0, verbose=False)
    module = Classifier(cifar10(args.data, "data_batch_*"), args.batch_size, args.epochs)
    trainer = lightning.Trainer(
        devices=args.devices,
        max_epochs=args.stop_after or args.epochs,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    resume = args.checkpoint and args.checkpoint.exists()
    trainer.fit(module, ckpt_path=args.checkpoint if resume else None)
    if args.checkpoint:
        trainer.save_checkpoint(args.checkpoint)
    return module


if __name__ == "__main__":
    main()
