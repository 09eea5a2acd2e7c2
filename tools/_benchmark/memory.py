"""Peak memory of one run among several in a process, on any device.

Allocators count for the process; this counts the tensors that are made within a block.

    with LiveMemory() as memory:
        loss = model(images); loss.backward()
    memory.peak_bytes

Use it around one run; it slows the operators of that block down.
"""

from __future__ import annotations

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that operators make during the body and that still live.

    Attributes:
        peak_bytes: The most that lived at one time, beside what was there before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = self.peak_bytes = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        before = {id(s) for s in self._storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in self._storages(result):
            if id(storage) not in before and id(storage) not in self._seen:
                self._watch(storage)
        return result

    def _storages(self, tree) -> list[torch.UntypedStorage]:
        leaves = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
        return [tensor.untyped_storage() for tensor in leaves]

    def _watch(self, storage: torch.UntypedStorage) -> None:
        size, key = storage.nbytes(), id(storage)
        self._seen.add(key)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

        def forget() -> None:
            self._seen.discard(key)
            self.live_bytes -= size

        weakref.finalize(storage, forget)
