"""Two real processes under torchrun: a quantized network trains in a plain loop as in one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tasks.qat.nets import build
from tests.tasks.qat.two_ranks import UPDATES, on_batches, without_norm

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "tests.tasks.qat.two_ranks", str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(autouse=True)
def one_thread():
    """As on the ranks: sums in another order are other sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def differing(a, b):
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


def statistics(state):
    return {name for name in state if name.endswith(("running_mean", "running_var"))}


def test_two_ranks_with_the_same_batches_are_one_process_to_the_bit(ranks):
    """Weights, steps and BatchNorm's statistics: the mean of two equal gradients is either."""
    alone = on_batches(build, slice(None), wrapped=False)
    for rank in ranks:
        assert differing(rank["the same"], alone) == set()


def test_two_ranks_with_half_of_each_batch_are_one_process_but_for_rounding(ranks):
    """Without BatchNorm, which knows the statistics of its own half only."""
    assert differing(ranks[0]["half each"], ranks[1]["half each"]) == set()
    alone = on_batches(without_norm, slice(None), wrapped=False)
    for name, value in ranks[0]["half each"].items():
        torch.testing.assert_close(value, alone[name], rtol=1e-5, atol=1e-6)
    other = on_batches(without_norm, slice(0, None, 2), wrapped=False)
    assert any(not torch.allclose(other[name], alone[name], rtol=1e-3) for name in alone)


@pytest.mark.parametrize("case", ["AUSAM", "AUSAM, statistics apart"])
def test_ranks_begin_with_the_same_steps_whatever_images_each_was_calibrated_on(ranks, case):
    (start, end), (other_start, _) = (rank[case] for rank in ranks)
    assert differing(start, other_start) == set()
    steps = {name for name in start if name.endswith("step")}
    assert steps and steps <= differing(start, end)


def test_after_ausam_ranks_are_equal_to_the_bit(ranks):
    (_, a), (_, b) = (rank["AUSAM"] for rank in ranks)
    assert differing(a, b) == set()


def test_statistics_that_are_not_broadcast_are_each_ranks_own_and_nothing_else_is(ranks):
    (_, a), (_, b) = (rank["AUSAM, statistics apart"] for rank in ranks)
    assert differing(a, b) == statistics(a)


def test_batch_norm_counts_an_update_once_however_many_passes_and_ranks(ranks):
    counts = {
        int(value) for name, value in ranks[0]["the same"].items() if name.endswith("tracked")
    }
    before = int(build().bn1.num_batches_tracked)
    assert counts == {before + UPDATES}


def test_held_weights_stand_still_on_both_ranks_and_the_rest_stays_equal(ranks):
    (before, a), (_, b) = (rank["held"] for rank in ranks)
    assert differing(a, b) == set()
    layers = {
        name.removesuffix(".weight") for name in a if a[name].dim() > 1 and "grids" not in name
    }
    stands = {f"{layer}.{part}" for layer in layers for part in ("weight", "step")}
    assert differing(before, a) == a.keys() - stands - {"grids"}
