"""Some samples of whatever holds a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def batch_length(value: Any) -> int | None:
    """How many samples a batch holds; None where it does not tell."""
    if isinstance(value, Tensor):
        return len(value) if value.dim() else None
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return None
    lengths = [
        len(v) for v in value if isinstance(v, (list, tuple)) or (isinstance(v, Tensor) and v.dim())
    ]
    return lengths[0] if lengths else None


def part_of_batch(value: Any, positions: Tensor, size: int) -> Any:
    """Some samples."""
    if isinstance(value, Tensor):
        return value[positions.to(value.device)] if value.dim() and len(value) == size else value
    if isinstance(value, Mapping):
        return {k: part_of_batch(v, positions, size) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and len(value) == size:
        return type(value)(value[i] for i in positions.tolist())
    if isinstance(value, (list, tuple)):
        return type(value)(part_of_batch(v, positions, size) for v in value)
    return value
