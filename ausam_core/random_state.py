"""Chance: generators that are a function of a key, and torch's own state, remembered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

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
