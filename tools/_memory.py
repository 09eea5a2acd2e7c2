"""Memory that training frees stays in the process: standard library only."""

from __future__ import annotations

import ctypes
import os

# Of <malloc.h>, which glibc alone has.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_SETTINGS = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 1 << 26}


def keep_freed_memory() -> bool:
    """Ask the allocator not to give large blocks back to the system, only to ask for them anew.

    glibc returns each freed activation, and the next one comes back as pages that the system has to
    clear first: on the CPU up to a quarter of a step (`docs/measured_speed.md`). The process then
    holds what it needed at its peak. Settings from the environment (``MALLOC_…``,
    ``GLIBC_TUNABLES``) stay as they are.

    Returns:
        Whether it was done; not where the C library is another one.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([mallopt(setting, value) == 1 for setting, value in _SETTINGS.items()])
