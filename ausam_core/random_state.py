"""Torch's random state: remembered before pass 1 and given again to pass 2, or kept in a
checkpoint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


def epoch_generator(seed: int, epoch: int, rank: int) -> torch.Generator:
    """A generator that is a function of (seed, epoch, rank): a resumed run needs no hidden state to
    draw alike."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{rank}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


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
        return {"cpu": self.cpu, "cuda": self.cuda}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor | None]) -> RandomState:
        """The state that :meth:`state_dict` gave, wherever ``torch.load`` put its tensors."""
        cuda = state.get("cuda")
        return cls(cpu=state["cpu"].cpu(), cuda=None if cuda is None else cuda.cpu())
