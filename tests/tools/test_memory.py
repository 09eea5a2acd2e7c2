"""Freed memory stays in the process where it is asked to, and the environment has the last word."""

import os
import platform
import subprocess
import sys

import pytest
from _common import ROOT

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
FAULTS = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from _memory import keep_freed_memory
import torch

def faults():
    def seen():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):  # the heap grows to what it needs
        torch.ones(1 << 24)
    before = seen()
    for _ in range(10):
        torch.ones(1 << 24)  # 64 MiB, above every threshold that glibc finds by itself
    return seen() - before

print(faults(), keep_freed_memory(), faults())
"""


def measured(**environment: str) -> tuple[int, bool, int]:
    """Page faults of ten large blocks before and after the call, and its answer between them."""
    words = subprocess.run(
        [sys.executable, "-c", FAULTS, str(ROOT / "tools")],
        env={k: v for k, v in os.environ.items() if "MALLOC" not in k} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return int(words[0]), words[1] == "True", int(words[2])


@glibc
def test_large_blocks_come_back_without_a_page_fault():
    before, done, after = measured()
    assert done and before >= 10 and after == 0


@glibc
@pytest.mark.parametrize(
    "setting", [dict(MALLOC_ARENA_MAX="2"), dict(GLIBC_TUNABLES="glibc.malloc.arena_max=2")]
)
def test_settings_of_the_environment_stay(setting):
    before, done, after = measured(**setting)
    assert not done and after >= 10
