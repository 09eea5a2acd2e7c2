"""What is in ``.grad``: taken away, put back, added, averaged, clipped, and looked at.

The base class of methods is the one owner of ``.grad``; these are its tools. They set the attribute
themselves, because ``zero_grad`` of a wrapped optimizer may mean something else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ausam_core.errors import AusamError
from ausam_core.perturbation import divide
from ausam_core.ranks import average, global_norm, is_sharded, local, number_of_ranks

Parameters = Sequence[nn.Parameter]
Gradients = list[tuple[nn.Parameter, Tensor]]
"""Parameters with a gradient, or something laid out like one, of each."""


def clear(parameters: Parameters) -> None:
    """Forget all gradients."""
    for parameter in parameters:
        parameter.grad = None


def own(pairs: Iterable[tuple[nn.Parameter, Tensor | None]]) -> Gradients:
    """Gradients that the next backward pass leaves alone.

    DDP's ``gradient_as_bucket_view`` makes them views of memory that every pass fills again.
    """
    return [(p, g.clone() if g._is_view() else g) for p, g in pairs if g is not None]


def take(parameters: Parameters) -> Gradients:
    """Take the gradients away and return them."""
    held = own((p, p.grad) for p in parameters)
    clear(parameters)
    return held


def put(parameters: Parameters, held: Gradients) -> None:
    """Make these the gradients, and no others."""
    clear(parameters)
    for parameter, gradient in held:
        parameter.grad = gradient


@torch.no_grad()
def add(held: Gradients) -> None:
    """Add what was taken away to what is there now."""
    both = [(local(p.grad), local(g)) for p, g in held if p.grad is not None]
    if both:
        torch._foreach_add_([present for present, _ in both], [g for _, g in both])
    for parameter, gradient in held:
        if parameter.grad is None:
            parameter.grad = gradient


def average_over_ranks(parameters: Parameters, group: object) -> None:
    """Replace what every rank holds whole by its mean over the ranks, in one all-reduce.

    A rank that did not use a parameter takes part with zeros.
    """
    if number_of_ranks(group) == 1:
        return
    whole = [p for p in parameters if p.requires_grad and not is_sharded(p)]
    for parameter in whole:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    average([p.grad for p in whole if p.grad is not None], group)


@torch.no_grad()
def are_finite(parameters: Parameters, like: Tensor) -> Tensor:
    """Whether all gradients are finite, 0-dim bool on the device of ``like``.

    Raises:
        AusamError: for a sparse gradient.
    """
    found = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.layout != torch.strided:
                raise AusamError(
                    f"a parameter of shape {list(parameter.shape)} has a sparse gradient, of "
                    "which no norm is taken; use sparse=False in its Embedding"
                )
            found.append(parameter.grad)
    return global_norm(found).to(like.device) < math.inf


@torch.no_grad()
def poison(parameters: Parameters, finite: Tensor) -> None:
    """Make the gradient NaN where ``finite`` is False: a loss scaler then skips and backs off."""
    for parameter in parameters:
        if parameter.grad is not None:
            gradient = local(parameter.grad)
            gradient.add_(torch.where(finite, 0.0, torch.nan).to(gradient))
            return


@torch.no_grad()
def clip(parameters: Parameters, max_norm: float) -> None:
    """Scale the gradients to a common norm of ``max_norm`` where it is larger."""
    found = [p.grad for p in parameters if p.grad is not None]
    excess = (global_norm(found) + 1e-6) / max_norm
    divide([local(g) for g in found], excess.clamp_(min=1.0))


def refuse_foreign(parameters: Parameters) -> None:
    """Refuse gradients that nobody accumulated on purpose.

    Raises:
        AusamError: where a gradient is there and is not zero.
    """
    found = [p.grad for p in parameters if p.grad is not None]
    if found and float(global_norm(found)) != 0:
        raise AusamError(
            f"{len(found)} parameters have a gradient that this method did not compute: a "
            "backward in the loop itself, or the closure of another method that shares the model "
            "(GAN); call optimizer.zero_grad() before step(), or use accumulate() and update() "
            "to add to it"
        )
