"""|ℓ(w + ε) − ℓ(w)| of each sample, computed as plainly as can be.

Nothing of ``ausam_core`` is used, and nothing of a loss is known: the model computes its whole loss
for each sample alone. BatchNorm then normalises by what it saw of the whole batch, since a sample's
loss in training depends on the batch that it stands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def scores_by_hand(model: nn.Module, batch: dict[str, Any], rho: float) -> Tensor:
    """The scores of one step of SAM from the model's weights, ``[N]``."""
    model.train()
    data = model.data_preprocessor(batch, True)
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    before = losses_of_each(model, data, float(loss.detach()))
    norm = torch.stack([g.norm() for g in gradients if g is not None]).norm()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter += rho * gradient / norm
    return (losses_of_each(model, data) - before).abs()


@torch.no_grad()
def losses_of_each(model: nn.Module, data: dict[str, Any], total: float | None = None) -> Tensor:
    """The loss of each sample, whose mean or sum has to be ``total``."""
    size = len(data["data_samples"])
    with batch_statistics(model, data):
        losses = torch.stack(
            [model.parse_losses(model(**part_of(data, i), mode="loss"))[0] for i in range(size)]
        )
    if total is not None:
        sums = (float(losses.mean()), float(losses.sum()))
        assert any(abs(s - total) < 1e-3 * abs(total) for s in sums), (sums, total)
    return losses


def part_of(data: dict[str, Any], i: int) -> dict[str, Any]:
    """A batch of sample ``i`` alone."""
    return {key: value[i : i + 1] for key, value in data.items()}


@contextmanager
def batch_statistics(model: nn.Module, data: dict[str, Any]) -> Iterator[None]:
    """Let BatchNorm use the mean and the variance of this whole batch as if they were fixed."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]

    def see(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        others = [d for d in range(args[0].dim()) if d != 1]
        variance, mean = torch.var_mean(args[0], others, correction=0)
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)

    momenta = [m.momentum for m in norms]
    for module in norms:
        module.momentum = 0.0
    hooks = [module.register_forward_pre_hook(see) for module in norms]
    model(**data, mode="loss")
    for hook in hooks:
        hook.remove()
    for module in norms:
        module.eval()
    yield
    for module, momentum in zip(norms, momenta, strict=True):
        module.train()
        module.momentum = momentum
