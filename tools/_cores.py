"""How many cores this process may use: standard library only, for tools that look before they
import."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """The cores that the process may run on, bounded by the quota of its container.

    A container with two of 64 cores' time sees all 64; as many threads take turns on two.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup)
    return max(1, min(seen or 1, seen or 1 if quota is None else math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """CPU time for each second, by control groups of version 2 or 1; None without a bound."""
    try:
        if (cgroup / "cpu.max").is_file():
            used, period = (cgroup / "cpu.max").read_text().split()
        else:
            used = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        bound = float(used) / float(period)  # no bound is the word max, or -1
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return bound if bound > 0 else None
