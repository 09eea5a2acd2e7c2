"""The examples under torchrun, on two real processes: ranks are equal, and so are frameworks."""

from importlib.util import find_spec

import pytest
import torch

from tests.examples.runs import torchrun


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """Weights at the end of each run, of both ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    jobs = {}
    for name in ("ddp", "fsdp2"):
        saved = ["--checkpoint", str(folder / name)]
        jobs[name] = (name, [])
        jobs[f"{name} broken off"] = (name, [*saved, "--stop-after", "2"])
        jobs[f"{name} resumed"] = (name, saved)
    return torchrun(folder, jobs)


def distance(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize("name", ["ddp", "ddp resumed", "fsdp2", "fsdp2 resumed"])
def test_ranks_end_with_the_same_weights(ends, name):
    first, second = ends[name]
    assert torch.equal(first, second)
    assert first.isfinite().all()


@pytest.mark.parametrize("name", ["ddp", "fsdp2"])
def test_a_run_that_was_broken_off_ends_like_one_that_was_not(ends, name):
    assert not torch.equal(ends[f"{name} broken off"][0], ends[name][0])
    assert torch.equal(ends[f"{name} resumed"][0], ends[name][0])


def test_sharded_training_is_that_of_ddp_within_rounding(ends):
    assert distance(ends["fsdp2"][0], ends["ddp"][0]) < 1e-6


@pytest.mark.parametrize(
    "package, name, flags",
    [
        ("accelerate", "accelerate_loop", []),
        ("lightning", "lightning_module", ["--devices", "2"]),
    ],
)
def test_a_framework_trains_as_plain_ddp_does(ends, tmp_path, package, name, flags):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed (pip install 'ausam[examples]')")
    first, second = torchrun(tmp_path, {name: (name, flags)})[name]
    assert torch.equal(first, second)
    assert distance(first, ends["ddp"][0]) < 1e-6
