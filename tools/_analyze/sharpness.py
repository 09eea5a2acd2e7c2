"""m-sharpness: by how much the loss of a batch rises at distance ρ along its own gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from _analyze.weights import flat_gradient, moved

Loss = Callable[[], Tensor]


def sharpness(loss: Loss, parameters: Sequence[Tensor], rhos: Sequence[float]) -> list[float]:
    """``L(w + ρ·g/‖g‖) − L(w)`` of one batch, at each ρ (Foret et al. 2021, Eq. 2).

    Args:
        loss: computes the loss of the batch, 0-dim.
        parameters: what is moved; they are as they were afterwards.
        rhos: distances.

    Returns:
        The rise at each: 0 where the gradient is 0, NaN where it is not finite.
    """
    at_w = loss()
    gradient = flat_gradient(at_w, parameters)
    norm = gradient.norm()
    if norm == 0:  # NaN goes on: nothing is known of it, least of all that it is flat
        return [0.0 for _ in rhos]
    rises = []
    for rho in rhos:
        with moved(parameters, gradient * (rho / norm)), torch.no_grad():
            rises.append(float(loss() - at_w))
    return rises
