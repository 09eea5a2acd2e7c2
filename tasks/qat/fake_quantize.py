"""Fake quantization with a learned step (LSQ): ``x̂ = s · round(clip(x / s, −Qn, Qp))``.

Esser et al., "Learned Step Size Quantization" (ICLR 2020), Eq. 1 to 3 and section 2.2. Gradients,
with v = x/s::

    ∂x̂/∂x = 1 where −Qn < v < Qp, else 0
    ∂x̂/∂s = round(v) − v there, −Qn below, Qp above; times g = 1/√(Qp·N)

``ste="round"`` takes the mask after rounding instead, as torch's own learnable operator, MQBench
and the code of Nagel et al. (2022) do. At 2 bits that is another method: a tenth of the weights of
a Gaussian are masked differently, and step gradients may differ in sign.

Nothing is stored but the inputs: the backward pass recomputes v. For an activation the input is
what ReLU keeps anyway, for a weight it is the parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tasks.qat.grid import Grid
from tasks.qat.steps import per_channel

Ste = Literal["clip", "round"]


@dataclass(frozen=True)
class Recipe:
    """How a list of tensors is quantized.

    Attributes:
        grids: the integers of each tensor.
        gradient_scales: LSQ's g of each tensor's step.
        ste: where the gradient of a value passes, see the module.
        learn_steps: compute the gradients of the steps; without, they get none.
        masks: let the gradient of a value vanish outside the grid; without, it passes everywhere,
            which makes it ``∂L/∂x̂``.
        bases: quantize these in place of the values and add ``value − base``: ``Q(w) + ε``.
    """

    grids: Sequence[Grid]
    gradient_scales: Sequence[float]
    ste: Ste = "clip"
    learn_steps: bool = True
    masks: bool = True
    bases: Sequence[Tensor] | None = None


def fake_quantize(
    values: Sequence[Tensor], steps: Sequence[Tensor], recipe: Recipe
) -> tuple[Tensor, ...]:
    """Quantize a list of tensors, all in one node of the autograd graph.

    Args:
        values: the tensors; fp32, or less under autocast (computed in fp32 all the same).
        steps: the step of each, fp32: shape ``[]``, or ``[C]`` for one a channel of dimension 0.
        recipe: how.

    Returns:
        The quantized tensors, in the shapes and dtypes of ``values``.
    """
    if not torch.is_grad_enabled():
        return _quantized(values, steps, recipe)
    return _FakeQuantize.apply(recipe, *values, *steps)


def _quantized(
    values: Sequence[Tensor], steps: Sequence[Tensor], recipe: Recipe
) -> tuple[Tensor, ...]:
    bases = values if recipe.bases is None else recipe.bases
    scales = [per_channel(s, b) for s, b in zip(steps, bases, strict=True)]
    quantized = _over_steps(bases, scales)
    torch._foreach_clamp_min_(quantized, [grid.low for grid in recipe.grids])
    torch._foreach_clamp_max_(quantized, [grid.high for grid in recipe.grids])
    torch._foreach_round_(quantized)
    torch._foreach_mul_(quantized, scales)
    if recipe.bases is not None:
        torch._foreach_add_(quantized, torch._foreach_sub(list(values), list(bases)))
    return tuple(q.to(v.dtype) for q, v in zip(quantized, values, strict=True))


def gradient_scale(grid: Grid, count: int) -> float:
    """LSQ's ``g = 1/√(Qp·N)``.

    Args:
        grid: gives Qp.
        count: N, how many values share the step: the weights of a channel; the features of *one*
            sample. Were N to count the batch, training half of each batch would change the learning
            rate of the steps.
    """
    return (grid.high * count) ** -0.5


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recipe: Recipe, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(tensors) // 2
        values, steps = tensors[:count], tensors[count:]
        bases = values if recipe.bases is None else recipe.bases
        ctx.recipe = recipe
        ctx.save_for_backward(*bases, *steps)
        return _quantized(values, steps, recipe)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        recipe: Recipe = ctx.recipe
        count = len(recipe.grids)
        bases, steps = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        needs_value = ctx.needs_input_grad[1 : 1 + count]
        needs_step = ctx.needs_input_grad[1 + count :]
        if not recipe.masks and not recipe.learn_steps:
            return (None, *upstream, *[None] * count)
        scaled = _over_steps(bases, [per_channel(s, b) for s, b in zip(steps, bases, strict=True)])
        of_values: list[Tensor | None] = [None] * count
        of_steps: list[Tensor | None] = [None] * count
        for i, (gradient, v, grid) in enumerate(zip(upstream, scaled, recipe.grids, strict=True)):
            edges = _edges(v, grid, recipe.ste)
            if needs_value[i]:
                of_values[i] = _inside(gradient, *edges) if recipe.masks else gradient
            if needs_step[i] and recipe.learn_steps:
                change = v.clamp(grid.low, grid.high).round_().sub_(_inside(v, *edges))
                total = _sum_like(steps[i], gradient, change)
                of_steps[i] = total.mul_(recipe.gradient_scales[i])
        return (None, *of_values, *of_steps)


def _over_steps(values: Sequence[Tensor], scales: Sequence[Tensor]) -> list[Tensor]:
    """``v = x / s`` in fp32: at bf16's 8 bits of precision codes would flip."""
    return torch._foreach_div([value.float() for value in values], list(scales))


def _edges(v: Tensor, grid: Grid, ste: Ste) -> tuple[Tensor, float, float]:
    """What is compared, and the open interval in which the gradient passes."""
    if ste == "clip":
        return v, float(grid.low), float(grid.high)
    return v.round(), grid.low - 0.5, grid.high + 0.5


def _inside(values: Tensor, compared: Tensor, low: float, high: float) -> Tensor:
    """``values`` where ``low < compared < high``, 0 elsewhere, in one operator."""
    return torch.ops.aten.hardtanh_backward(values.to(compared.dtype), compared, low, high).to(
        values.dtype
    )


def _sum_like(step: Tensor, gradient: Tensor, change: Tensor) -> Tensor:
    """``Σ gradient · change`` over what shares a step, in the shape of ``step``."""
    if step.dim() == 0:
        return change.mul_(gradient).sum()
    return change.mul_(gradient).sum(tuple(range(1, change.dim())))
