"""The loss around weights, on a plane: how wide the valley is.

Li et al., "Visualizing the Loss Landscape of Neural Nets" (2018): two random directions, each
filter scaled to the norm of the weights' own filter, so that networks of different scale compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from _analyze.weights import flatten, moved


def random_direction(parameters: Sequence[Tensor], seed: int) -> Tensor:
    """A random direction ``[P]``, each filter as long as that of the weights; 0 for biases and
    BatchNorm."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=generator).to(parameter)
        if parameter.dim() < 2:
            pieces.append(torch.zeros_like(parameter))
            continue
        rows, own = noise.flatten(1), parameter.detach().flatten(1)
        scale = own.norm(dim=1, keepdim=True) / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
        pieces.append((rows * scale).view_as(parameter))
    return flatten(pieces, parameters)


def surface(
    loss: Callable[[], float], parameters: Sequence[Tensor], steps: Sequence[float], seed: int = 0
) -> list[list[float]]:
    """The loss on a grid around the weights.

    Args:
        loss: computes the loss at the present weights.
        parameters: what is moved; they are as they were afterwards.
        steps: coordinates of the grid in both directions, in lengths of the weights.
        seed: of the directions; the same for weights that are to be compared.

    Returns:
        A row for each second coordinate.
    """
    one, two = (random_direction(parameters, seed + number) for number in (0, 1))
    rows = []
    for b in steps:
        row = []
        for a in steps:
            with moved(parameters, a * one + b * two), torch.no_grad():
                row.append(loss())
        rows.append(row)
    return rows
