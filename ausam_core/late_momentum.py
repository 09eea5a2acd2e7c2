"""Momentum of parameters whose first gradient comes later than that of others."""

from __future__ import annotations

from typing import Any

import torch

from ausam_core.wrappers import inner_optimizers


def begin_late_momentum(optimizer: Any) -> None:
    """Give parameters that have a gradient for the first time the momentum 0.

    A layer that is frozen at first, or not reached by the first batch. From 0 the first step is
    torch's own; but where others have momentum already, the fused kernel of torch 2.14 dies of the
    missing ones ("expected Tensor … but got NoneType"). With dampening 0 is not torch's own
    beginning, so there all stays as it is.

    Args:
        optimizer: bare or wrapped; others than a fused SGD with momentum are left alone.
    """
    for inner in inner_optimizers(optimizer):
        for group in inner.param_groups if isinstance(inner, torch.optim.SGD) else []:
            if not (group["fused"] and group["momentum"]) or group["dampening"]:
                continue
            state, trained = inner.state, [p for p in group["params"] if p.grad is not None]
            late = [p for p in trained if state[p].get("momentum_buffer") is None]
            if len(late) < len(trained):
                for parameter in late:
                    state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
