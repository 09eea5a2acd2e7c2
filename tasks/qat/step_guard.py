"""Holds the steps of every quantized network within reach of what they were, update by update.

PyTorch calls these functions before and after each ``optimizer.step()`` of a process, whatever
wraps the optimizer: the one place that a plain loop, Accelerate and MMEngine have in common. So no
loop has to remember it.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import optimizer as torch_optimizer

from tasks.qat.steps import limit_change


class HasSteps(Protocol):
    """What is guarded."""

    def steps(self) -> Mapping[str, Tensor]:
        """Every step by its name."""


_guarded: weakref.WeakSet[HasSteps] = weakref.WeakSet()
_before: weakref.WeakKeyDictionary[HasSteps, list[Tensor]] = weakref.WeakKeyDictionary()


def guard_steps(network: HasSteps) -> None:
    """Limit what any optimizer does to the steps of a network, for as long as it lives.

    See :func:`~tasks.qat.steps.limit_change`.
    """
    _guarded.add(network)


def _updated_by(optimizer: torch.optim.Optimizer) -> list[HasSteps]:
    """The networks whose steps an optimizer holds; the others are none of its business."""
    if not _guarded:
        return []
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return [n for n in list(_guarded) if any(id(step) in held for step in n.steps().values())]


@torch.no_grad()
def _before_an_update(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for network in _updated_by(optimizer):
        _before[network] = [step.detach().clone() for step in network.steps().values()]


@torch.no_grad()
def _after_an_update(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for network in _updated_by(optimizer):
        if network in _before:
            limit_change([s.detach() for s in network.steps().values()], _before[network])


torch_optimizer.register_optimizer_step_pre_hook(_before_an_update)
torch_optimizer.register_optimizer_step_post_hook(_after_an_update)
