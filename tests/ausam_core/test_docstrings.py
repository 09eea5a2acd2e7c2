"""Every ``>>>`` in the core runs, with what a reader would have at hand."""

import doctest
import importlib
import pkgutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ausam_core
import ausam_core.mmengine


def modules():
    for package in (ausam_core, ausam_core.mmengine):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            yield found.name


def examples_of(name):
    module = importlib.import_module(name)
    return [t for t in doctest.DocTestFinder().find(module) if t.examples]


NAMES = [name for name in dict.fromkeys(modules()) if examples_of(name)]


class WithLoss(nn.Module):
    """A model that computes its loss."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 3)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, images, targets=None):
        scores = self.net(images)
        return scores if targets is None else self.loss(scores, targets)


def at_hand():
    model = WithLoss()
    return {
        **vars(ausam_core),
        "METHODS": ausam_core.mmengine.METHODS,
        "torch": torch,
        "nn": nn,
        "F": F,
        "model": model,
        "images": torch.randn(4, 6),
        "targets": torch.tensor([0, 1, 2, 0]),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }


def test_there_are_examples():
    assert len(NAMES) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name):
    for example in examples_of(name):
        example.globs.update(at_hand())
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        report = []
        runner = doctest.DocTestRunner(optionflags=flags)
        result = runner.run(example, out=report.append)
        assert result.failed == 0, "".join(report)
    ausam_core.mmengine.METHODS.module_dict.pop("MyMethod", None)
