"""The core alone in a plain PyTorch loop, on real images, without MMEngine."""

import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import ausam_core
from ausam_core import SAM, AllSamples, GradientNormSelection, SelectiveBatchSampler

BLOCKED = textwrap.dedent("""
    import sys
    for name in ("mmengine", "mmpose", "mmcv", "mmdet", "torchvision", "numpy"):
        sys.modules[name] = None
    import warnings; warnings.simplefilter("ignore")
    import torch
    {code}
""")


def run_without_frameworks(code):
    source = BLOCKED.format(code=code)
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)


def test_the_core_imports_with_torch_alone():
    done = run_without_frameworks("import ausam_core; print(ausam_core.SAM.__name__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "SAM"


def test_the_block_is_real():
    assert run_without_frameworks("import ausam_core.mmengine").returncode != 0


def test_the_loop_in_the_docstring_runs():
    """The lines at the head of ausam_core/__init__.py, as they stand there."""
    text = textwrap.dedent(ausam_core.__doc__.split("::", 1)[1].split("A *method*")[0])
    train_set = TensorDataset(torch.randn(300, 5), torch.randint(3, (300,)))
    model = nn.Linear(5, 3)
    names = {
        **vars(ausam_core), "train_set": train_set, "RandomSampler": RandomSampler, "F": F,
        "DataLoader": DataLoader, "model": model, "epochs": 2,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }  # fmt: skip
    before = model.weight.detach().clone()
    exec(text, names)
    assert not torch.equal(before, model.weight)
    assert not names["selection"].scores.of(torch.arange(300)).isnan().any()


def train(selection, epochs=3):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 5), torch.randint(3, (64,)))
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    batches = SelectiveBatchSampler(RandomSampler(data), 16, selection)
    batches.begin_run(epochs)
    method = SAM(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), model)
    for _ in range(epochs):
        for batch, (x, y) in batches.over(DataLoader(data, batch_sampler=batches)):
            result = method.step(lambda: F.cross_entropy(model(x), y, reduction="none"))  # noqa: B023
            batches.record(batch, result)
    return model.state_dict()


def test_alpha_one_equals_sam_to_the_bit():
    ausam, sam = train(GradientNormSelection(64, alpha=1.0)), train(AllSamples())
    assert all(torch.equal(ausam[k], sam[k]) for k in sam)


def test_half_the_samples_train_another_network():
    ausam, sam = train(GradientNormSelection(64, alpha=0.5)), train(AllSamples())
    assert not torch.equal(ausam["0.weight"], sam["0.weight"])


def test_a_loss_that_is_reduced_cannot_teach_ausam():
    model = nn.Linear(5, 3)
    selection = GradientNormSelection(8, start_epoch=0)
    batches = SelectiveBatchSampler(RandomSampler(range(8)), 4, selection)
    batch, _ = next(batches.over(DataLoader(range(8), batch_sampler=batches)))
    result = SAM(torch.optim.SGD(model.parameters(), lr=0.1), model).step(
        lambda: model(torch.randn(4, 5)).square().mean()
    )
    with pytest.raises(ausam_core.AusamError, match=r"return the loss of each sample, shape \[N\]"):
        batches.record(batch, result)
