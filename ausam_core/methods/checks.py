"""What no method can train, refused by name: when a method is built, and when parameters change."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from ausam_core.errors import AusamError
from ausam_core.wrappers import is_optimizer, is_sharded_by_fsdp1, needs_closure


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is no optimizer, and what evaluates the loss itself."""
    if not is_optimizer(optimizer):
        raise AusamError(
            f"a method goes around a torch optimizer, found {type(optimizer).__name__}; pass "
            "SGD(…), Adam(…) or another one that is already built"
        )
    if needs_closure(optimizer):
        raise AusamError(
            f"{type(optimizer).__name__} evaluates the loss itself, as often as it likes, and a "
            "method evaluates it at chosen points; use an optimizer whose step() needs no closure"
        )


def check_parameters(optimizer: Any) -> None:
    """Refuse parameters that have no norm, or no shape yet."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if is_lazy(parameter):
                raise AusamError(
                    "a parameter has no shape yet (a lazy module); run the model on one batch "
                    "before the optimizer is built"
                )
            if parameter.is_complex():
                raise AusamError(
                    f"a parameter of shape {list(parameter.shape)} is complex, and ε is defined "
                    "for real ones; hold its real and imaginary part as a real tensor "
                    "(torch.view_as_real)"
                )


def check_model(model: nn.Module) -> None:
    """Refuse sharding whose parts cannot be told from whole parameters."""
    if is_sharded_by_fsdp1(model):
        raise AusamError(
            "FullyShardedDataParallel (FSDP1) hides which parts of a parameter a rank holds, so "
            "the norm of the gradient would miss the others; use fully_shard (FSDP2), or "
            "DistributedDataParallel"
        )
