"""Two real processes under torchrun: ranks decide, draw and end alike."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "two_ranks.py"
ROOT = Path(__file__).parents[2]
BAD = [
    f"{name}{how}"
    for name in ("Base", "SAM", "GSAM", "LookSAM")
    for how in (" bad", " leftover", " accumulated bad")
]
PLAIN = [
    *("Base", "SAM", "SAM excluded", "SAM local", "AUSAM", "AUSAM local", "GSAM", "LookSAM"),
    *("ESAM", "KSAM", "AESAM", "VSAM", "SAF", "MESA", "MSAM", "InfoBatch"),
]
ACCUMULATED = [f"{name} accumulated" for name in PLAIN]
CASES = [
    *PLAIN,
    *ACCUMULATED,
    *(f"{case} in views" for case in ACCUMULATED),
    *BAD,
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_every_case_ran(ranks):
    assert list(ranks[0]) == [*CASES, "own", "refused"]


@pytest.mark.parametrize("case", CASES)
def test_both_ranks_end_with_the_same_weights(ranks, case):
    a, b = (rank[case] for rank in ranks)
    assert a["finite"] and a["weights"] == b["weights"] and a["steps"] == b["steps"]


@pytest.mark.parametrize("case", ["SAM", "AUSAM", "GSAM", "LookSAM", "ESAM", "KSAM", "VSAM"])
def test_a_global_perturbation_is_the_same_on_both_ranks(ranks, case):
    assert ranks[0][case]["epsilon"] == ranks[1][case]["epsilon"] is not None


@pytest.mark.parametrize("case", ACCUMULATED)
def test_gradients_that_are_views_of_ddps_buckets_change_nothing(ranks, case):
    views, plain = (ranks[0][name]["weights"] for name in (f"{case} in views", case))
    assert views == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("case", [case for case in BAD if case.endswith("bad")])
def test_an_infinite_loss_on_one_rank_is_skipped_by_both(ranks, case):
    assert ranks[0][case]["skipped"] == ranks[1][case]["skipped"] == 1


@pytest.mark.parametrize("case", ["SAM local", "AUSAM local"])
def test_a_local_perturbation_is_each_ranks_own(ranks, case):
    assert ranks[0][case]["epsilon"] != ranks[1][case]["epsilon"]
    assert ranks[0][case]["weights"] != ranks[0][case.split()[0]]["weights"]


@pytest.mark.parametrize("case", ["AUSAM", "AUSAM local", "InfoBatch"])
def test_scores_are_merged_and_the_same_on_both_ranks(ranks, case):
    a, b = (rank[case]["scores"] for rank in ranks)
    assert a == b and not any(math.isnan(score) for score in a)


def test_every_trained_sample_is_counted_once(ranks):
    """Each rank takes 26 of 52, in batches of 8: whole in epoch 0, then 4 + 4 + 4 + 2 of them."""
    assert ranks[0]["AUSAM"]["visits"] == 2 * (26 + 3 * 14)


def test_the_outputs_that_saf_stored_survive_reshuffling(ranks):
    """After the exchange both ranks hold an output of every sample of the last epochs."""
    for rank in ranks:
        assert set(rank["SAF"]["table"].values()) == {0}


def test_info_batch_runs_as_many_batches_on_both_ranks_and_fewer_than_all(ranks):
    assert ranks[0]["InfoBatch"]["steps"] == ranks[1]["InfoBatch"]["steps"] < 16


@pytest.mark.parametrize("rank", range(2))
def test_a_rank_with_a_model_of_its_own_shares_nothing(ranks, rank):
    found = ranks[rank]["own"]
    assert found["visits"] == 52 - 8 * rank and found["own"]


def test_what_cannot_be_right_with_several_ranks_is_one_sentence(ranks):
    found = ranks[0]["refused"]
    assert "leave static_graph out" in found["static graph"]
    assert "keeps the momentum of a part" in found["sharded momentum"]
