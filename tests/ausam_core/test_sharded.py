"""``fully_shard`` and tensor parallel, on several real processes: the step of one process."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.fsdp

SCRIPT = Path(__file__).parent / "sharded_ranks.py"
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not hasattr(torch.distributed.fsdp, "fully_shard"),
    reason="fully_shard is under torch.distributed.fsdp since torch 2.6",
)
CASES = [
    *("Base", "SAM", "ASAM", "SAM excluded", "GSAM", "LookSAM", "ESAM", "AESAM", "VSAM", "SAF"),
    *("MESA", "MSAM", "SAM clipped", "SAM accumulated", "LookSAM accumulated", "SAM with Adam"),
]
RESUMED = [case for case in CASES if "accumulated" not in case]
HELD = "never resharded", "resharded at the last", "evaluated", "gathered by hand", "unfinished"
HELD_CASES = [
    *("SAM", "ASAM", "SAM excluded", "LookSAM", "MESA", "MSAM"),
    *("SAM accumulated", "LookSAM accumulated"),
]


def torchrun(task, ranks, folder):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, f"--nproc-per-node={ranks}", str(SCRIPT), task, str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{task}-{ranks}-{r}.json").read_text()) for r in range(ranks)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def two(folder):
    return torchrun("train", 2, folder)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return torchrun("train", 4, tmp_path_factory.mktemp("sharded-4"))


@pytest.fixture(params=[2, pytest.param(4, marks=pytest.mark.slow)], ids=["two", "four"])
def ranks(request):
    return request.getfixturevalue({2: "two", 4: "four"}[request.param])


def distance(a, b):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("case", CASES)
def test_ten_steps_on_shards_are_those_of_one_process(ranks, case):
    for rank in ranks:
        assert distance(rank[case]["sharded"], rank[case]["alone"]) < 1e-6
        assert rank[case]["sharded"] == ranks[0][case]["sharded"]


def test_the_methods_that_were_compared_differ(two):
    """So that none of the equalities holds because a method does nothing."""
    ends = {case: two[0][case]["sharded"] for case in CASES if case != "SAM excluded"}
    for case, end in ends.items():
        others = [other for name, other in ends.items() if name != case]
        assert min(distance(end, other) for other in others) > 1e-5, case


@pytest.mark.parametrize("case", ["SAM", "ASAM", "GSAM", "LookSAM", "AESAM"])
def test_the_norm_is_taken_over_all_shards(ranks, case):
    alone, sharded = ranks[0][case]["grad_norm"]
    assert sharded == pytest.approx(alone, rel=1e-4)


def test_the_copies_of_a_rank_shrink_with_the_ranks(ranks):
    for rank in ranks:
        found = rank["SAM"]
        assert found["copied"] == found["own"] <= math.ceil(found["parameters"] / len(ranks)) + 30
    assert sum(rank["SAM"]["own"] for rank in ranks) == ranks[0]["SAM"]["parameters"]


def test_ausam_on_shards_is_ausam_under_ddp(ranks):
    for rank in ranks:
        found = rank["AUSAM"]
        assert distance(found["sharded"]["weights"], found["DDP"]["weights"]) < 1e-6
        assert found["sharded"]["scores"] == pytest.approx(found["DDP"]["scores"], rel=1e-3)


@pytest.mark.parametrize("case", ["ESAM, half", "KSAM, half"])
def test_what_chooses_in_the_batch_does_so_on_shards_as_under_ddp(ranks, case):
    for rank in ranks:
        assert distance(rank[case]["sharded"], rank[case]["DDP"]) < 1e-6


@pytest.mark.parametrize("how", HELD)
@pytest.mark.parametrize("case", HELD_CASES)
def test_parameters_that_stay_whole_are_gathered_again_once_shards_move(ranks, case, how):
    """Else pass 2 would see the weights of pass 1, and learn nothing of the perturbation."""
    for rank in ranks:
        assert distance(rank[case]["held"][how]["weights"], rank[case]["alone"]) < 1e-6


def test_what_mesa_saves_after_an_evaluation_is_of_shards(two):
    whole = [[9, 6], [9], [9, 9], [3, 9], [3]]
    for found in two[0]["MESA"]["held"].values():
        assert found["saved"] == whole


def test_a_bf16_policy_trains_and_sees_the_perturbation(two):
    assert all(math.isfinite(w) for w in two[0]["bf16"]["weights"])
    assert all(d > 0.01 for d in two[0]["bf16"]["difference"])


@pytest.mark.parametrize("case", ["SAM", "GSAM", "LookSAM"])
def test_a_tensor_parallel_model_takes_the_step_of_one_process(two, case):
    alone, cut = two[0]["tensor parallel"][case]
    assert distance(cut, alone) < 2e-6


def test_a_gradient_that_is_not_reduced_is_refused(two):
    assert "set_requires_gradient_sync on" in two[0]["unsynchronised"]


@pytest.mark.parametrize("case", RESUMED)
def test_a_run_goes_on_from_its_shards_to_the_bit(ranks, case):
    for rank in ranks:
        assert rank[case]["resumed"] == rank[case]["sharded"]


@pytest.mark.parametrize("case", RESUMED)
def test_a_run_goes_on_from_its_shards_on_another_number_of_ranks(two, folder, case):
    (resumed,) = resume_on(1, folder)
    assert distance(resumed[case]["resumed"], two[0][case]["alone"]) < 1e-6
    assert resumed[case]["updates"] == 10


@pytest.mark.slow
@pytest.mark.parametrize("case", RESUMED)
def test_a_run_of_two_ranks_goes_on_with_four(two, folder, case):
    for rank in resume_on(4, folder):
        assert distance(rank[case]["resumed"], two[0][case]["alone"]) < 1e-6


_RESUMED = {}


def resume_on(ranks, folder):
    """Once for all cases."""
    if (ranks, folder) not in _RESUMED:
        _RESUMED[ranks, folder] = torchrun("resume", ranks, folder)
    return _RESUMED[ranks, folder]
