"""How many samples a batch holds, and some of them, whatever holds the batch.

A batch is a tensor ``[N, ...]``, or a mapping, list or tuple of such: what a collate function
returns, or the arguments of a call. Inside of one:

- a tensor, or an array of another library, holds the batch where its first dimension is N;
- a list holds one entry a sample where it is N long (data samples, images of different size);
- a tuple is a group of batches where all of it are tensors with N rows (the two vectors of SimCC),
  and holds one entry a sample where it is N long otherwise; a named tuple is always a group;
- everything else (numbers, strings, tensors and lists of another length) belongs to all samples
  and is handed through.

Two forms cannot be told apart by looking, and the rules above decide: a list of N tensors that
happen to have N rows each is taken for a list of samples, a tuple of such for a group.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from torch import Tensor


def batch_length(batch: Any) -> int | None:
    """How many samples a batch holds: the length of the first thing in it that has one.

    An outermost list or tuple is taken for a group of batches, as a collate function returns it.

    Returns:
        N, or None where nothing in it has a length.
    """
    if _is_array(batch):
        return batch.shape[0] if len(batch.shape) else None
    if isinstance(batch, Mapping):
        return _first_length(batch.values())
    if not isinstance(batch, (list, tuple)):
        return None
    length = _first_length(batch)
    # A list of things without a length of their own is a list of samples.
    return len(batch) or None if length is None and isinstance(batch, list) else length


def part_of_batch(batch: Any, positions: Tensor, size: int) -> Any:
    """Some samples of a batch; what does not hold one entry a sample is handed through.

    Args:
        batch: a batch; it is not changed.
        positions: the samples to keep, ``[N']``, int64, in their order. On the CPU where the batch
            holds lists: a device is waited for.
        size: N, the number of samples in the batch.

    Returns:
        The same structure with N' samples; tensors are copies.
    """

    def of_list(value: list[Any] | tuple[Any, ...]) -> list[Any]:
        return [value[i] for i in positions.tolist()]

    def of_tensor(value: Any) -> Any:
        by_row = positions.to(value.device) if isinstance(value, Tensor) else positions.tolist()
        return value[by_row]

    return map_batch(batch, size, of_tensor, of_list)


def map_batch(
    batch: Any,
    size: int,
    of_tensor: Callable[[Any], Any],
    of_list: Callable[[list[Any] | tuple[Any, ...]], list[Any]],
) -> Any:
    """Apply a function to every tensor or array, and one to every list, that holds one entry a
    sample.

    Args:
        batch: a batch.
        size: N, the number of samples in it.
        of_tensor: what becomes of a tensor or array ``[N, ...]``.
        of_list: what becomes of a list or tuple with N entries.
    """
    if isinstance(batch, (list, tuple)) and not _is_group(batch, size):
        return _rebuilt(batch, of_list(batch))
    if isinstance(batch, (list, tuple)):
        return _rebuilt(batch, [_map_part(v, size, of_tensor, of_list) for v in batch])
    return _map_part(batch, size, of_tensor, of_list)


def holds(batch: Any, size: int) -> bool:
    """Whether something in a batch has one entry for each of N samples."""
    found: list[Any] = []

    def note(value: Any) -> Any:
        found.append(value)
        return value

    map_batch(batch, size, note, note)
    return bool(found)


def tensors_in(batch: Any) -> Iterator[Tensor]:
    """Every tensor in a batch, or in the arguments of a call."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from tensors_in(value)
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            yield from tensors_in(value)


def call_length(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    """:func:`batch_length` of a call: what is passed by position first."""
    by_place = _first_length(args)
    return batch_length(kwargs) if by_place is None else by_place


def map_call(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    size: int,
    of_tensor: Callable[[Any], Any],
    of_list: Callable[[list[Any] | tuple[Any, ...]], list[Any]],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """:func:`map_batch` of a call; the arguments themselves are never taken for samples."""
    by_place = map_batch(dict(enumerate(args)), size, of_tensor, of_list)
    return tuple(by_place.values()), map_batch(dict(kwargs), size, of_tensor, of_list)


def part_of_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], positions: Tensor, size: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """:func:`part_of_batch` of a call; the arguments themselves are never taken for samples."""
    by_place = part_of_batch(dict(enumerate(args)), positions, size)
    return tuple(by_place.values()), part_of_batch(dict(kwargs), positions, size)


def _map_part(value: Any, size: int, of_tensor: Any, of_list: Any) -> Any:
    """:func:`map_batch` inside of a batch, where a list as long as the batch holds samples."""
    if _is_array(value):
        return of_tensor(value) if _has_rows(value, size) else value
    if isinstance(value, Mapping):
        parts = {k: _map_part(v, size, of_tensor, of_list) for k, v in value.items()}
        if not isinstance(value, MutableMapping):
            return parts
        like = copy.copy(value)  # a user's mapping keeps its type and what else it carries
        like.update(parts)
        return like
    if not isinstance(value, (list, tuple)):
        return value
    group = isinstance(value, tuple) and (
        hasattr(value, "_fields") or all(_has_rows(item, size) for item in value)
    )
    if len(value) == size and not group:
        return _rebuilt(value, of_list(value))
    return _rebuilt(value, [_map_part(v, size, of_tensor, of_list) for v in value])


def _is_group(batch: list[Any] | tuple[Any, ...], size: int) -> bool:
    """Whether an outermost list or tuple is a group of batches and not a list of samples."""
    if len(batch) != size or hasattr(batch, "_fields"):
        return True
    lengths = {n for item in batch if (n := _length(item)) is not None}
    return lengths == {size} and not any(isinstance(item, Mapping) for item in batch)


def _has_rows(value: Any, size: int) -> bool:
    return _is_array(value) and len(value.shape) > 0 and value.shape[0] == size


def _is_array(value: Any) -> bool:
    """Whether it is a tensor, or an array of NumPy's kind."""
    # An image of PIL answers to __array_interface__ with a copy of its pixels: not asked.
    kind = type(value)
    return isinstance(value, Tensor) or (hasattr(kind, "dtype") and hasattr(kind, "shape"))


def _length(value: Any) -> int | None:
    """The length of something inside of a batch."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        group = value and all(isinstance(item, Tensor) and item.dim() for item in value)
        return len(value[0]) if group else len(value)
    return batch_length(value)


def _first_length(values: Iterable[Any]) -> int | None:
    return next((n for value in values if (n := _length(value)) is not None), None)


def _rebuilt(like: list[Any] | tuple[Any, ...], items: list[Any]) -> Any:
    """The items in a list, tuple or named tuple like another."""
    if hasattr(like, "_fields"):
        return type(like)(*items)
    return type(like)(items)
