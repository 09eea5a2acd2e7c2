"""A container says how much of the machine is its own; a thread more than that only waits."""

import os

import pytest
from _cores import usable_cores
from _faster import threads_line


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu.max": "not what the kernel writes"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_cores_are_those_seen_within_the_quota(files, cores, eight_cores, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("threads", "variable", "says"),
    [
        (64, None, "they take turns: export OMP_NUM_THREADS=4"),
        (1, "1", "1 of 4 usable cores: unset OMP_NUM_THREADS"),
        (1, None, "1 for 4 usable cores"),
        (4, None, "4 for 4 usable cores"),
    ],
)
def test_too_many_or_too_few_threads_are_told(threads, variable, says, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert says in threads_line(threads, cores=4)
