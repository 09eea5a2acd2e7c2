"""What a reader of the pages has at hand before the first line: a model, an optimizer, data."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import ausam_core

CLASSES = 3


def at_hand(page):
    """Names for the blocks of a page: images where the page is about them, vectors elsewhere."""
    torch.manual_seed(0)
    model, images = _convolutions() if page in WITH_IMAGES else _layers()
    labels = torch.randint(CLASSES, (len(images),))
    train_set = TensorDataset(images, labels)
    sampler = ausam_core.SelectiveBatchSampler(
        RandomSampler(images), 16, ausam_core.GradientNormSelection(len(images))
    )
    return {
        **{name: getattr(ausam_core, name) for name in ausam_core.__all__},
        **dict(torch=torch, nn=nn, F=F, DataLoader=_loader, RandomSampler=RandomSampler),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "train_set": train_set,
        "numbered_set": TensorDataset(torch.arange(len(images)), images, labels),
        "loader": DataLoader(train_set, batch_size=16),
        "images": images[:16],
        "labels": labels[:16],
        "epochs": 2,
        "sampler": sampler,
    }


WITH_IMAGES = ("README.md", "docs/guides/quantization.md")


def _loader(*args, num_workers=0, **kwargs):
    """A loader in this process, however many workers a page takes."""
    return DataLoader(*args, **kwargs)


def _layers():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES)), torch.randn(64, 6)


def _convolutions():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )
    return model, torch.randn(64, 3, 12, 12)
