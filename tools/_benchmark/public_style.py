"""A training loop as public SAM code writes it: what a user would otherwise run.

Images are decoded to PIL and augmented one by one in worker processes; the whole batch is loaded
and uploaded and a part of it then dropped; the step loops over parameters, swaps ``.data``, and
reads its loss on the host. Written for this comparison, after what such repositories have in
common.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from .trainee import Progress


class Pictures(Dataset):
    """Images one by one through torchvision's transforms, as ``torchvision.datasets`` gives
    them."""

    def __init__(self, pixels: Tensor, labels: Tensor, mean: list[float], std: list[float]) -> None:
        self.pixels, self.labels = pixels.numpy(), labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(pixels.shape[1], 4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([m / 255 for m in mean], [s / 255 for s in std]),
                transforms.RandomErasing(0.5, scale=(0.25, 0.25), ratio=(1, 1)),  # cutout
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int, int]:
        return self.transform(self.pixels[i]), self.labels[i], i


class PublicLoop:
    """SAM, or SAM on a part of each batch, in the style of public code.

    Has what :func:`_benchmark.speed.take_turns` asks of a trainee.

    Args:
        name: its name in the table.
        model: the network, on its device.
        data: pixels, labels, mean and std, for the pictures.
        batch_size: K.
        rho: radius.
        alpha: share of a loaded batch that is trained; 1 for SAM.
        optimizer: ``"own"`` for the loops described above, ``"pytorch_optimizer"`` for that
            library.
        workers: number of loader workers.
    """

    peak_bytes = 0

    def __init__(
        self,
        name: str,
        model: nn.Module,
        data: tuple[Tensor, Tensor, list[float], list[float]],
        batch_size: int = 128,
        rho: float = 0.1,
        alpha: float = 1.0,
        optimizer: str = "own",
        workers: int = 2,
    ) -> None:
        self.name, self.model, self.rho, self.alpha = name, model, rho, alpha
        self.batch_size = batch_size
        self.device = next(model.parameters()).device
        self.scores = torch.ones(len(data[1]), device=self.device)
        settings = dict(lr=0.05, momentum=0.9, weight_decay=1e-3)
        if optimizer == "pytorch_optimizer":
            import pytorch_optimizer

            self.optimizer = pytorch_optimizer.SAM(
                model.parameters(), torch.optim.SGD, rho=rho, **settings
            )
        else:
            self.optimizer = torch.optim.SGD(model.parameters(), foreach=False, **settings)
        self.step = self._library_step if optimizer == "pytorch_optimizer" else self._own_step
        loader = DataLoader(
            Pictures(*data),
            batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        self.loop = SimpleNamespace(dataloader=loader)
        self._batches = self._for_ever(loader)
        self.losses: list[float] = []
        model.train()

    def advance(self, iterations: int) -> Progress:
        """Train so many iterations and measure them."""
        images = trained = 0
        waited, started = 0.0, time.perf_counter()
        for _ in range(iterations):
            asked = time.perf_counter()
            x, y, index = next(self._batches)
            waited += time.perf_counter() - asked
            images += len(y)
            x, y, index = x.to(self.device), y.to(self.device), index.to(self.device)
            if self.alpha < 1:
                kept = torch.multinomial(self.scores[index], int(self.alpha * len(y)))
                x, y, index = x[kept], y[kept], index[kept]
            trained += len(y)
            self.step(x, y, index)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return Progress(time.perf_counter() - started, waited, images, trained)

    def _own_step(self, x: Tensor, y: Tensor, index: Tensor) -> None:
        first = F.cross_entropy(self.model(x), y, reduction="none", label_smoothing=0.1)
        first.mean().backward()
        norms = [p.grad.norm(2) for p in self.model.parameters() if p.grad is not None]
        scale = self.rho / (torch.stack(norms).norm(2) + 1e-12)
        old = {}
        with torch.no_grad():
            for p in self.model.parameters():
                if p.grad is not None:
                    old[p] = p.data.clone()
                    p.add_(p.grad * scale)
        self.optimizer.zero_grad()
        self._set_momentum(0.0)
        second = F.cross_entropy(self.model(x), y, reduction="none", label_smoothing=0.1)
        second.mean().backward()
        self._set_momentum(0.1)
        for p, value in old.items():
            p.data = value
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scores[index] = (second - first).detach().abs() + 1e-8
        self.losses.append(second.mean().item())

    def _library_step(self, x: Tensor, y: Tensor, index: Tensor) -> None:
        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y, label_smoothing=0.1)
            loss.backward()
            return loss

        loss = closure()
        self.optimizer.step(closure)
        self.losses.append(loss.item())

    def _set_momentum(self, value: float) -> None:
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = value

    @staticmethod
    def _for_ever(loader: DataLoader) -> Iterator[list[Tensor]]:
        while True:
            yield from loader
