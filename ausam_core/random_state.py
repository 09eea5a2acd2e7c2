"""Chance: generators that are a function of a key, and the state of all others, remembered."""

from __future__ import annotations

import hashlib
import random
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def seed_of(*key: int | str) -> int:
    """A seed, in [0, 2⁶³), that is a function of the key alone, on every machine."""
    text = "/".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def keyed_generator(purpose: str, *key: int) -> torch.Generator:
    """A generator that is a function of its key: a resumed run needs no hidden state to draw alike.

    Args:
        purpose: what is drawn, so that two purposes with equal numbers draw apart.
        key: numbers such as (seed, epoch, rank).
    """
    return torch.Generator().manual_seed(seed_of(purpose, *key))


@dataclass
class RandomState:
    """The state of torch's default generators: the CPU's and the current CUDA device's.

    Neither reading nor writing it waits for the device.
    """

    cpu: Tensor
    cuda: Tensor | None = None

    @classmethod
    def capture(cls) -> RandomState:
        """Remember the present state."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
        return cls(cpu=torch.get_rng_state(), cuda=cuda)

    def restore(self) -> None:
        """Make this state the present one."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)

    def state_dict(self) -> dict[str, Tensor | None]:
        """Both states, for a checkpoint."""
        return {"cpu": self.cpu, "cuda": self.cuda}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor | None]) -> RandomState:
        """The state that :meth:`state_dict` gave, wherever ``torch.load`` put its tensors."""
        cpu, cuda = state["cpu"], state.get("cuda")
        assert cpu is not None
        return cls(cpu=cpu.cpu(), cuda=None if cuda is None else cuda.cpu())


def capture_random_state() -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's generators, as tensors and plain values.

    NumPy's is None where nobody has imported it.
    """
    version, words, gauss = random.getstate()
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": _numpy_state(),
        "torch": RandomState.capture().state_dict(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Make what :func:`capture_random_state` gave the present state."""
    if "torch" not in state:  # as it was saved before Python's and NumPy's were
        state = {"torch": state}
    python, of_numpy, numpy = state.get("python"), state.get("numpy"), _numpy()
    if python is not None:
        random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    if of_numpy is not None and numpy is not None:
        keys = of_numpy["keys"].cpu().numpy().astype("uint32")
        rest = (of_numpy[key] for key in ("position", "has_gauss", "cached"))
        numpy.random.set_state((of_numpy["name"], keys, *rest))
    RandomState.from_state_dict(state["torch"]).restore()


def _numpy_state() -> dict[str, Any] | None:
    numpy = _numpy()
    if numpy is None:
        return None
    name, keys, position, has_gauss, cached = numpy.random.get_state()
    return {
        "name": name,
        "keys": torch.from_numpy(keys.astype("int64")),
        "position": position,
        "has_gauss": has_gauss,
        "cached": cached,
    }


def _numpy() -> Any:
    """NumPy where somebody has imported it: this package needs torch alone."""
    return sys.modules.get("numpy")
