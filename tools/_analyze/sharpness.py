"""m-sharpness: by how much the loss of a batch rises at distance ρ along its own gradient."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Loss = Callable[[], Tensor]


def perturbed_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What sharpness is measured in: all trained parameters but the steps of quantizers, which
    scale with what they quantize."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not re.search(r"\bstep$", name)
    ]


def sharpness(loss: Loss, parameters: Sequence[nn.Parameter], rhos: Sequence[float]) -> list[float]:
    """``L(w + ρ·g/‖g‖) − L(w)`` of one batch, at each ρ (Foret et al. 2021, Eq. 2).

    The weights come back from copies, also when the loss raises. Memory: two copies of them.

    Args:
        loss: computes the loss of the batch, 0-dim.
        parameters: what is moved.
        rhos: distances.
    """
    at_w = loss()
    gradients = torch.autograd.grad(at_w, parameters, allow_unused=True)
    norm = torch.stack([g.norm() for g in gradients if g is not None]).norm()
    if not norm > 0:
        return [0.0 for _ in rhos]
    held = [parameter.detach().clone() for parameter in parameters]
    rises = []
    try:
        with torch.no_grad():
            for rho in rhos:
                for parameter, copy, gradient in zip(parameters, held, gradients, strict=True):
                    if gradient is not None:
                        parameter.copy_(copy + (rho / norm) * gradient)
                rises.append(float(loss() - at_w))
    finally:
        with torch.no_grad():
            for parameter, copy in zip(parameters, held, strict=True):
                parameter.copy_(copy)
    return rises
