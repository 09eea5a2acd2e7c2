"""Arguments of a loss module, however they were passed."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def arguments(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> list[Any]:
    """Arguments by name; None for those left out."""
    given = dict(zip(names, args, strict=False)) | kwargs
    return [given.get(name) for name in names]


def with_dims_of(weight: Tensor, values: Tensor) -> Tensor:
    """A weight ``[N, K]`` with as many dimensions as the values ``[N, K, ...]``."""
    return weight.reshape(weight.shape + (1,) * (values.dim() - weight.dim()))
