"""Everything that speaks to other ranks: averages, sums, agreement, and tensors that are sharded.

DistributedDataParallel averages gradients while a backward pass computes them, and nothing else:
not those of batches in ``no_sync()``, not what a method derives from them. The process group is
asked, not the model's type: a model may be compiled around DDP, or wrapped after a method was
built. Averaging what is averaged already changes nothing, so a doubt costs an all-reduce and never
a wrong step.

A sharded parameter (FSDP2's ``fully_shard``, tensor parallel) is a ``DTensor``: a method works on
the part that this rank holds, and only a norm needs the others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ausam_core.errors import AusamError
from ausam_core.wrappers import layers_of_wrapping


def own_rank() -> int:
    """Rank of this process, 0 without ``torch.distributed``."""
    return dist.get_rank() if _is_distributed() else 0


def number_of_ranks(group: Any = None) -> int:
    """Processes in a group (by default all), 1 without ``torch.distributed``."""
    return dist.get_world_size(group) if _is_distributed() else 1


def data_parallel_wrapper(model: nn.Module) -> nn.Module | None:
    """What averages the gradients of this model as far as can be seen: DDP, or None."""
    for layer in layers_of_wrapping(model):
        if hasattr(layer, "require_backward_grad_sync") and hasattr(layer, "no_sync"):
            return layer
    return None


def group_of(model: nn.Module) -> Any:
    """The process group that shares a model; None, the default group, where nothing tells."""
    return getattr(data_parallel_wrapper(model), "process_group", None)


def is_averaged(model: nn.Module, group: Any = None) -> bool:
    """Whether a backward pass that begins now is known to leave gradients averaged over ranks."""
    if number_of_ranks(group) == 1:
        return True
    wrapper = data_parallel_wrapper(model)
    return wrapper is not None and bool(wrapper.require_backward_grad_sync)


def without_averaging(model: nn.Module) -> AbstractContextManager[None]:
    """DDP's ``no_sync()``, for a pass whose gradient stays on its rank.

    Raises:
        AusamError: where several ranks train and no wrapper can be seen that could be told.
    """
    wrapper: Any = data_parallel_wrapper(model)
    if getattr(wrapper, "static_graph", False):
        raise AusamError(
            'perturb="local" keeps the gradient of pass 1 on its rank by no_sync(), with which '
            "DistributedDataParallel(static_graph=True) cannot begin; leave static_graph out, or "
            'use perturb="global"'
        )
    if wrapper is None:
        raise AusamError(
            'perturb="local" keeps the gradient of pass 1 on its rank, which only '
            f"DistributedDataParallel can do, and the method was given {type(model).__name__}; "
            "build the method with the wrapped model"
        )
    return wrapper.no_sync()


@torch.no_grad()
def average(tensors: Sequence[Tensor], group: Any = None) -> None:
    """Replace tensors by their mean over the ranks, in place, in one all-reduce.

    Args:
        tensors: on every rank as many, in the same shapes, none of them sharded.
        group: the ranks; all by default.
    """
    ranks = number_of_ranks(group)
    if ranks == 1 or not tensors:
        return
    wide = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    flat = torch.cat([tensor.to(wide).flatten() for tensor in tensors])
    flat = _all_reduce(flat, group=group) / ranks
    means = flat.split([t.numel() for t in tensors])
    torch._foreach_copy_(list(tensors), [m.view_as(t) for m, t in zip(means, tensors, strict=True)])


def sum_over_ranks(table: Tensor, group: Any = None) -> Tensor:
    """The sum of what the ranks of a group hold, where the table was; a collective call."""
    return _all_reduce(table.clone(), group=group).to(table.device)


def largest_of_ranks(number: int, group: Any = None) -> int:
    """The largest number of the ranks of a group; a collective call."""
    return -smallest_of_ranks(-number, group)


def smallest_of_ranks(number: int, group: Any = None) -> int:
    """The smallest number of the ranks of a group; a collective call."""
    if not _is_distributed():
        return number
    found = torch.tensor(number, dtype=torch.int64)
    return int(_all_reduce(found, dist.ReduceOp.MIN, group))


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor, of which this rank holds a part."""
    kind = _dtensor()
    return kind is not None and isinstance(tensor, kind)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds, sharing its memory; the tensor if not sharded."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def placed_like(part: Tensor, parameter: Tensor) -> Tensor:
    """A local part as a tensor sharded as the parameter is, for a checkpoint."""
    if not is_sharded(parameter):
        return part
    kind: Any = _dtensor()
    return kind.from_local(
        part,
        parameter.device_mesh,  # type: ignore[attr-defined]
        parameter.placements,  # type: ignore[attr-defined]
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def reshard(model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """Let ``fully_shard`` forget the whole parameters that it holds; called where shards move.

    It holds them after an evaluation (the root's), with ``set_reshard_after_backward(False)`` and
    after ``unshard()``; a forward pass that found them would never see the shards that moved. The
    model also has its sharded parameters again then, those that the optimizer knows. Where no
    parameter is sharded nothing is looked through; where all are, nothing is gathered again.

    Args:
        model: the model, or what wraps it.
        parameters: those of the optimizer.
    """
    for module in _gathering_modules(model, parameters):
        module.reshard()


def finish_backward(model: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """Make ``fully_shard`` complete what the next backward pass reduces and gathers.

    After ``set_is_last_backward(False)`` it would not: gradients may still be on their way when a
    norm is taken, and parameters that it gathered ahead, before the shards moved, would be those
    of a later forward pass.

    Args:
        model, parameters: see :func:`reshard`.
    """
    for module in _gathering_modules(model, parameters):
        module.set_is_last_backward(True)


def _gathering_modules(model: nn.Module, parameters: Sequence[nn.Parameter]) -> list[Any]:
    """The parts of a model that ``fully_shard`` was applied to; none where nothing is sharded."""
    kind = _dtensor()
    if kind is None or not any(isinstance(p, kind) for p in parameters):
        return []
    return [m for m in model.modules() if hasattr(m, "set_is_last_backward")]


def align_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Lay sharded gradients out as their parameters are: sums that are still owed are paid."""
    if _dtensor() is None:
        return
    for parameter in parameters:
        gradient: Any = parameter.grad
        if gradient is not None and is_sharded(gradient):
            wanted = parameter.placements  # type: ignore[attr-defined]
            if gradient.placements != wanted:
                parameter.grad = gradient.redistribute(placements=wanted)


@torch.no_grad()
def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """``‖·‖₂`` over all tensors together and over all shards; 0-dim, on the device of the first.

    In fp32, or fp64 where a tensor is fp64. An empty list gives 0. With sharded tensors every rank
    that holds a shard calls it.
    """
    if not tensors:
        return torch.zeros((), dtype=torch.float32)
    whole: list[Tensor] = []
    sharded: dict[tuple[Any, tuple[int, ...]], list[Tensor]] = {}
    for tensor in tensors:
        if is_sharded(tensor):
            sharded.setdefault(_sharding(tensor), []).append(local(tensor))
        else:
            whole.append(tensor)
    if not sharded:
        return _norm(whole)
    parts = [_norm(whole)] if whole else []
    for (mesh, dimensions), shards in sharded.items():
        square = _norm(shards).square()
        for dimension in dimensions:
            square = _all_reduce(square, group=mesh.get_group(dimension)).to(square.device)
        parts.append(square.sqrt())
    return _norm(parts)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """The norm of ordinary tensors, whatever their devices and dtypes."""
    kinds = dict.fromkeys((t.device, t.dtype) for t in tensors)
    wide = torch.float64 if any(d == torch.float64 for _, d in kinds) else torch.float32
    if len(kinds) == 1:
        alike = torch._foreach_norm(list(tensors), 2, dtype=wide)
        return torch.linalg.vector_norm(torch.stack(alike))
    norms: list[Tensor] = []
    for device, dtype in kinds:
        same = [t for t in tensors if (t.device, t.dtype) == (device, dtype)]
        norms += torch._foreach_norm(same, 2, dtype=torch.promote_types(dtype, torch.float32))
    target = tensors[0].device
    return torch.linalg.vector_norm(torch.stack([n.to(target, wide) for n in norms]))


def _sharding(tensor: Any) -> tuple[Any, tuple[int, ...]]:
    """Mesh, and those of its dimensions over which the tensor is split and not repeated."""
    dimensions = []
    for dimension, placement in enumerate(tensor.placements):
        if placement.is_partial():
            raise AusamError(
                "a gradient is a sum that the ranks have not formed yet (a Partial DTensor); "
                "redistribute it before a norm is taken"
            )
        if placement.is_shard():
            dimensions.append(dimension)
    return tensor.device_mesh, tuple(dimensions)


def _all_reduce(tensor: Tensor, op: Any = None, group: Any = None) -> Tensor:
    """The reduced tensor, on a device that the group's backend can use."""
    if dist.get_backend(group) == "nccl" and tensor.device.type == "cpu":
        # NCCL takes CUDA tensors only; gloo takes both.
        tensor = tensor.to(torch.device("cuda", torch.cuda.current_device()))
    dist.all_reduce(tensor, op or dist.ReduceOp.SUM, group=group)
    return tensor


def _dtensor() -> type | None:
    """The class of sharded tensors, under its name in torch 2.5 and later, or before.

    Where nobody imported it no tensor is one; importing it takes a third of a second.
    """
    for name in ("torch.distributed.tensor", "torch.distributed._tensor"):
        kind = getattr(sys.modules.get(name), "DTensor", None)
        if kind is not None:
            return kind
    return None


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
