"""Moving a model's weights and putting them back; gradients as one long vector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def perturbed_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What analyses move: all trained parameters but the steps of quantizers, which scale with what
    they quantize."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not re.search(r"\bstep$", name)
    ]


def flat_gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Gradient of a loss, ``[P]`` over all parameters; 0 where one has no part in it."""
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return flatten(gradients, parameters)


def flatten(tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """Tensors laid out like parameters as one vector ``[P]``, zeros for None."""
    parts = [
        torch.zeros_like(parameter) if tensor is None else tensor
        for tensor, parameter in zip(tensors, like, strict=True)
    ]
    return torch.cat([part.flatten() for part in parts])


@contextmanager
def moved(parameters: Sequence[Tensor], by: Tensor) -> Iterator[None]:
    """Weights displaced by a vector ``[P]`` during the body; they come back from copies.

    Memory: a copy of the weights.
    """
    held = [parameter.detach().clone() for parameter in parameters]
    pieces = by.split([parameter.numel() for parameter in parameters])
    try:
        with torch.no_grad():
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter.add_(piece.view_as(parameter))
        yield
    finally:
        with torch.no_grad():
            for parameter, copy in zip(parameters, held, strict=True):
                parameter.copy_(copy)
