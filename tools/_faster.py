"""What would make training faster on this machine: looked at and measured in a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import torch
from _cores import usable_cores
from _memory import keep_freed_memory
from torch import nn

_TURNS = 20
_BLOCK = 1 << 24  # numbers; glibc gives blocks from 32 MiB back whatever it has learned
_SLOW = 3.0  # times as slow as others, from where a line speaks of denormal numbers


def threads_line(threads: int | None = None, cores: int | None = None) -> str:
    """Whether torch has as many threads as there are cores.

    Args:
        threads: of torch; asked where not given.
        cores: that may be used; asked where not given.
    """
    threads = torch.get_num_threads() if threads is None else threads
    cores = usable_cores() if cores is None else cores
    if threads > cores:
        return (
            f"{threads} for {cores} usable cores, so they take turns: "
            f"export OMP_NUM_THREADS={cores} (tools/train.py sees to it)"
        )
    if threads < cores and "OMP_NUM_THREADS" in os.environ:
        return f"{threads} of {cores} usable cores: unset OMP_NUM_THREADS, or set it to {cores}"
    return f"{threads} for {cores} usable cores"


def denormals_line() -> str:
    """Whether this processor is slow where numbers are nearly zero, as old momentum is."""
    normal, tiny = (torch.full((1 << 16,), value) for value in (1e-30, 1e-40))
    times = _times_as_long(lambda: tiny.mul(0.5), lambda: normal.mul(0.5))
    if times < _SLOW:
        return "numbers below 1e-38 cost no more than others"
    return (
        f"numbers below 1e-38 cost {times:.0f} times as much: "
        "torch.set_flush_denormal(True) at the start of a script makes them 0"
    )


def layout_line() -> str:
    """How much channels_last gains on a convolution here."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layouts = torch.contiguous_format, torch.channels_last
    gain = _times_as_long(*(partial(_convolve, *_layer(device, layout)) for layout in layouts))
    if gain >= 1:
        return f"channels_last convolves {gain:.1f} times as fast (the tasks here use it)"
    return f"channels_last is no gain on this machine ({gain:.1f} times as fast)"


def memory_line() -> str:
    """What a block of memory costs that was given back to the system; from here on none is."""

    def seconds() -> float:
        started = time.perf_counter()
        torch.ones(_BLOCK)
        return time.perf_counter() - started

    given_back = min(seconds() for _ in range(_TURNS))
    if not keep_freed_memory():
        return "the allocator is not glibc's, or has settings from the environment"
    times = given_back / min(seconds() for _ in range(_TURNS))
    if times < 1.2:
        return "blocks that were freed cost nothing to have again"
    return (
        f"blocks that were freed cost {times:.1f} times as much to have again: export "
        "MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647 (tools/train.py sees to it)"
    )


def _layer(device: str, layout: torch.memory_format) -> tuple[nn.Module, torch.Tensor]:
    layer = nn.Conv2d(32, 32, 3, padding=1).to(device, memory_format=layout)
    return layer, torch.randn(16, 32, 32, 32).to(device, memory_format=layout).requires_grad_()


def _convolve(layer: nn.Module, images: torch.Tensor) -> None:
    layer(images).sum().backward()


def _times_as_long(first: Callable[[], object], second: Callable[[], object]) -> float:
    """The shortest of a few turns over that of the other, taken in turns."""
    shortest = [float("inf")] * 2
    for _ in range(_TURNS):
        for i, work in enumerate((first, second)):
            started = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            shortest[i] = min(shortest[i], time.perf_counter() - started)
    return shortest[0] / shortest[1]
