"""The loss of each sample by calling a loss module on each sample alone.

Right for every loss that is a mean or a sum over samples, whatever its settings are. The module is
left as it was found: buffers, counters and the random state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ausam_core.batch_parts import call_length, map_call, part_of_call
from ausam_core.errors import AusamError
from ausam_core.random_state import RandomState


def one_by_one(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Call the module once for every sample, N times: the form of last resort.

    Raises:
        AusamError: where the call holds no batch, or the module returns no loss.
    """
    size = _length(module, args, kwargs)
    losses = []
    with left_as_found(module):
        for i in range(size):
            args_i, kwargs_i = part_of_call(args, kwargs, torch.tensor([i]), size)
            losses.append(_loss_in(module, module.forward(*args_i, **kwargs_i)))
    return torch.stack(losses)


def all_at_once(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """:func:`one_by_one` in one vectorised call: a handler for modules that only calculate.

    They may hold no buffer that moves, draw nothing, read no value on the host, and take tensors
    and not lists of samples.
    """
    size = _length(module, args, kwargs)
    rows: list[Tensor] = []

    def collect(batch: Any) -> Tensor:
        if not isinstance(batch, Tensor):
            raise AusamError(f"{type(module).__name__} was called with an array")
        rows.append(batch.unsqueeze(1))  # the module sees batches of one
        return batch

    def no_list(samples: Any) -> list[Any]:
        raise AusamError(f"{type(module).__name__} was called with a list of samples")

    map_call(args, kwargs, size, collect, no_list)

    def alone(*parts: Tensor) -> Tensor:
        source = iter(parts)
        args_i, kwargs_i = map_call(args, kwargs, size, lambda _: next(source), no_list)
        return _loss_in(module, module.forward(*args_i, **kwargs_i))

    return torch.vmap(alone)(*rows)


@contextmanager
def left_as_found(module: nn.Module) -> Iterator[None]:
    """Undo what calling a module again does to its buffers, its counters and the random state."""
    random_state = RandomState.capture()
    parts = list(module.modules())
    buffers = [
        (part, name, buffer, buffer._version, buffer.clone())
        for part in parts
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    counters = [
        (part, {k: v for k, v in vars(part).items() if isinstance(v, (int, float))})
        for part in parts
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for part, name, buffer, version, value in buffers:
                if buffer._version != version:  # writing to one that backward needs would end it
                    buffer.copy_(value)
                part._buffers[name] = buffer
        for part, numbers in counters:
            vars(part).update(numbers)
        random_state.restore()


def _length(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    size = call_length(args, kwargs)
    if size is None:
        raise AusamError(
            f"{type(module).__name__} was called without a tensor, so its loss cannot be split "
            "into samples; register a handler with register_per_sample_loss"
        )
    return size


def _loss_in(module: nn.Module, output: Any) -> Tensor:
    """The loss in what a loss module returned: a tensor, or several that add up."""
    if isinstance(output, Tensor):
        return output.mean() if output.dim() else output
    if isinstance(output, Mapping):
        output = list(output.values())
    several = output if isinstance(output, (list, tuple)) else ()
    losses = [value for value in several if isinstance(value, Tensor)]
    if not losses:
        raise AusamError(
            f"{type(module).__name__} returned {type(output).__name__}, in which there is no loss"
        )
    return torch.stack([loss.mean() for loss in losses]).sum()
