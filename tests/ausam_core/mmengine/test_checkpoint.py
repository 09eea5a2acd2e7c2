"""Checkpoints load safely, and a truncated one is told from a whole one."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys

import pytest
import torch
from mmengine.logging import HistoryBuffer

from ausam_core import AusamError
from ausam_core.mmengine import check_checkpoint, newest_whole_checkpoint
from tests.ausam_core.mmengine.tiny import HALF, REPOSITORY, augment, pack, train

PLAIN = (type(None), bool, int, float, str, torch.Tensor)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    train(
        directory,
        selection=HALF,
        hooks=[dict(type="AUSAMHook")],
        pipeline=[augment, pack],
        epochs=3,
        val=True,
        save=True,
        param_scheduler=[dict(type="MultiStepLR", milestones=[1])],
    )
    return directory


def test_a_checkpoint_loads_with_weights_only(saved):
    checkpoint = torch.load(saved / "epoch_3.pth", weights_only=True)
    assert checkpoint["meta"]["epoch"] == 3
    history = checkpoint["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(history, HistoryBuffer) and history.mean() > 0


def test_what_is_ours_in_it_are_tensors_and_plain_values(saved):
    def leaves(value):
        if isinstance(value, dict):
            return [x for v in value.values() for x in leaves(v)]
        if isinstance(value, (list, tuple)):
            return [x for v in value for x in leaves(v)]
        return [value]

    checkpoint = torch.load(saved / "epoch_3.pth", weights_only=True)
    found = leaves(checkpoint["ausam"]) + leaves(checkpoint["optimizer"]["method"])
    assert len(found) > 10
    assert [type(x) for x in found if not isinstance(x, PLAIN)] == []


def test_nothing_is_allowed_that_mmengine_does_not_store(saved):
    """In a process of its own: the list of safe globals is the process's."""
    program = (
        "import sys, torch\n"
        "import ausam_core.mmengine.checkpoint as c\n"
        "torch.serialization.clear_safe_globals()\n"
        "stored = torch.serialization.get_unsafe_globals_in_checkpoint(sys.argv[1])\n"
        "c.allow_mmengine_checkpoints()\n"
        "left = torch.serialization.get_unsafe_globals_in_checkpoint(sys.argv[1])\n"
        "allowed = torch.serialization.get_safe_globals()\n"
        "names = {f'{f.__module__}.{f.__qualname__}' for f in allowed}\n"
        "print(sorted(names - set(stored)), left, getattr in allowed, sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(saved / "epoch_3.pth")],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    unused, left, real_getattr = done.stdout.strip().splitlines()[-1].split("|")
    # The kinds of dtype are no globals of a file, but torch wants them allowed too.
    assert set(re.findall(r"'(\S+?)'", unused)) <= {
        f"numpy.dtypes.{kind}" for kind in re.findall(r"numpy\.dtypes\.(\w+)", unused)
    }
    assert left == "[]"
    assert real_getattr == "False"


class Reaches:
    """Pickles as a call of ``getattr``."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize(
    "arguments", [(HistoryBuffer, "__init__"), (HistoryBuffer, "update"), (torch.Tensor, "mean")]
)
def test_getattr_in_a_file_reaches_only_the_statistics_of_a_log(arguments, tmp_path):
    torch.save(Reaches(HistoryBuffer, "mean"), tmp_path / "good.pth")
    assert torch.load(tmp_path / "good.pth", weights_only=True) is HistoryBuffer.mean
    torch.save(Reaches(*arguments), tmp_path / "bad.pth")
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match="not safe"):
        torch.load(tmp_path / "bad.pth", weights_only=True)


def truncate(source, target, share=0.7):
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    os.utime(target, (2e9, 2e9))  # the newest


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused_and_the_newest_whole_one_named(share, saved, tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes((saved / "epoch_1.pth").read_bytes())
    os.utime(tmp_path / "epoch_1.pth", (1e9, 1e9))
    (tmp_path / "epoch_2.pth").write_bytes((saved / "epoch_2.pth").read_bytes())
    truncate(saved / "epoch_3.pth", tmp_path / "epoch_3.pth", share)
    assert newest_whole_checkpoint(tmp_path) == tmp_path / "epoch_2.pth"
    whole = re.escape(str(tmp_path / "epoch_2.pth"))
    with pytest.raises(AusamError, match=f"epoch_3.pth is truncated.*newest whole one is {whole}"):
        check_checkpoint(tmp_path / "epoch_3.pth")
    check_checkpoint(tmp_path / "epoch_2.pth")


def test_where_no_whole_one_is_left_it_says_so(saved, tmp_path):
    truncate(saved / "epoch_3.pth", tmp_path / "epoch_3.pth")
    assert newest_whole_checkpoint(tmp_path) is None
    with pytest.raises(AusamError, match="there is no whole checkpoint in"):
        check_checkpoint(tmp_path / "epoch_3.pth")


def test_a_missing_checkpoint_is_named(saved, tmp_path):
    with pytest.raises(AusamError, match="there is no checkpoint .*epoch_9.pth.*epoch_3.pth"):
        check_checkpoint(saved / "epoch_9.pth")
    with pytest.raises(AusamError, match="no whole checkpoint"):
        check_checkpoint(tmp_path / "nowhere" / "epoch_9.pth")
