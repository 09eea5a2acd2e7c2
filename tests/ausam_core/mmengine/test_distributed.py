"""Two real processes under torchrun: alike in everything that must be alike."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tests.ausam_core.mmengine.ranks import APART, CASES, EPOCHS, RHO, SIZE
from tests.ausam_core.mmengine.tiny import REPOSITORY, same

ALL = [*CASES, "resumed"]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks wrote down: one launch for all tests."""
    directory = tmp_path_factory.mktemp("ranks")
    log = directory / "log"
    with log.open("w") as output:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", "2", "-m", "tests.ausam_core.mmengine.ranks"),
                str(directory),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            timeout=300,
        )
    assert done.returncode == 0, log.read_text()[-4000:]
    return [torch.load(directory / f"rank_{i}.pt", weights_only=True) for i in (0, 1)]


@pytest.mark.parametrize("name", [*ALL, *APART])
def test_weights_are_equal_on_both_ranks_after_every_update(name, ranks):
    a, b = (rank[name] for rank in ranks)
    assert a["wrapped"] == b["wrapped"] == "MMDistributedDataParallel"
    assert same(a["weights"], b["weights"])
    assert not torch.equal(a["weights"][0], a["weights"][-1])
    assert same(a["optimizer"], b["optimizer"])


@pytest.mark.parametrize("name", ALL)
def test_ranks_train_different_samples_and_as_many(name, ranks):
    a, b = (rank[name]["batches"] for rank in ranks)
    assert [len(x) for x in a] == [len(x) for x in b]
    assert a != b
    if name != "resumed":
        assert [len(x) for x in a] == [4] * 4 + [2] * 4 * (EPOCHS - 1)
        assert set(sum(a[:4] + b[:4], [])) == set(range(SIZE))


@pytest.mark.parametrize("name", ALL)
def test_scores_are_merged_and_every_trained_sample_counts(name, ranks):
    a, b = (rank[name] for rank in ranks)
    assert torch.equal(a["count"], b["count"])
    assert torch.equal(a["scores"], b["scores"]) and a["scores"].isfinite().all()
    if name != "resumed":
        trained = torch.bincount(torch.tensor(sum(a["batches"] + b["batches"], [])))
        assert torch.equal(a["count"].long(), trained)


def directions(ranks, name):
    """(ε of each rank, gradient of each rank), iteration by iteration."""
    a, b = (rank[name] for rank in ranks)
    return list(
        zip(
            zip(a["perturbations"], b["perturbations"], strict=True),
            zip(a["gradients"], b["gradients"], strict=True),
            strict=True,
        )
    )


@pytest.mark.parametrize("name", ["global", "in the loop", "global, unused parameters"])
def test_global_perturbation_is_that_of_the_averaged_gradient_on_every_rank(name, ranks):
    steps = directions(ranks, name)
    assert len(steps) == 4 * EPOCHS
    for (one, two), gradients in steps:
        assert torch.equal(one, two)
        average = sum(gradients) / 2
        torch.testing.assert_close(one, RHO * average / average.norm(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["local", "local, accumulation 2"])
def test_local_perturbation_is_that_of_the_own_gradient(name, ranks):
    steps = directions(ranks, name)
    assert len(steps) == 4 * EPOCHS
    for epsilons, gradients in steps:
        for epsilon, gradient in zip(epsilons, gradients, strict=True):
            torch.testing.assert_close(
                epsilon, RHO * gradient / gradient.norm(), rtol=1e-3, atol=1e-5
            )
        assert not torch.allclose(*epsilons, rtol=1e-2)


def test_under_accumulation_only_the_batch_that_updates_is_averaged(ranks):
    for i, ((one, two), gradients) in enumerate(directions(ranks, "global, accumulation 2")):
        assert torch.equal(one, two) == (i % 2 == 1)
        for epsilon, own in zip((one, two), gradients, strict=True):
            gradient = sum(gradients) / 2 if i % 2 else own
            torch.testing.assert_close(
                epsilon, RHO * gradient / gradient.norm(), rtol=1e-3, atol=1e-5
            )


def test_two_ranks_resume_as_if_they_had_never_stopped(ranks):
    for i, rank in enumerate(ranks):
        whole, resumed = rank["global, accumulation 2"], rank["resumed"]
        assert len(resumed["batches"]) == 4
        assert resumed["batches"] == whole["batches"][8:]
        assert same(resumed["weights"], whole["weights"][8:])
        for what in ("optimizer", "scores", "count"):
            assert same(resumed[what], whole[what]), what
        if i == 0:  # MMEngine saves the master's running statistics; the others' are their own
            assert same(resumed["state"], whole["state"])


@pytest.mark.gpu
@pytest.mark.slow
def test_sync_batch_norm_over_two_ranks(tmp_path):
    """torch synchronises BatchNorm on devices only; gloo lets two ranks share one."""
    program = tmp_path / "program.py"
    program.write_text(SYNC)
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        + [str(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        timeout=300,
    )


SYNC = """
import torch
from torch import distributed as dist, nn
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from ausam_core.mmengine import SAMOptimWrapper
from tests.ausam_core.mmengine.tiny import Net, Points, flat
from tests.leave import leave
dist.init_process_group("gloo")
model = Net(norm=nn.SyncBatchNorm).cuda()
ddp = MMDistributedDataParallel(model, device_ids=[0], broadcast_buffers=False)
wrapper = SAMOptimWrapper(
    optimizer=torch.optim.SGD(model.parameters(), 0.0), method=dict(type="SAM", rho=1.0))
wrapper.initialize_count_status(ddp, 0, 10)
points, own = Points(8), range(dist.get_rank() * 4, dist.get_rank() * 4 + 4)
ddp.train_step(pseudo_collate([points[i] for i in own]), wrapper)
single = Net()
single.train()(torch.stack([points[i]["inputs"] for i in range(8)]))
torch.testing.assert_close(model.body[1].running_mean.cpu(), single.body[1].running_mean)
torch.testing.assert_close(model.body[1].running_var.cpu(), single.body[1].running_var)
leave()
"""
