"""The largest eigenvalues of the Hessian, by Lanczos with Hessian-vector products.

Memory: a vector of all weights for each iteration, and the graph of one chunk of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from _analyze.weights import flatten
from ausam_core.errors import AusamError

Product = Callable[[Tensor], Tensor]


def hessian_product(
    losses: Callable[[], Iterable[tuple[float, Tensor]]], parameters: Sequence[Tensor]
) -> Product:
    """``v ↦ H v`` of a loss that comes in chunks, by differentiating twice.

    Args:
        losses: gives, a chunk at a time, its weight in the mean and its loss with a graph; the
            graph of a chunk is gone before the next one is asked for.
        parameters: what H is over.

    Raises:
        AusamError: from the product, where the model cannot be differentiated twice.
    """

    def product(vector: Tensor) -> Tensor:
        pieces = vector.split([p.numel() for p in parameters])
        pieces = [piece.view_as(p) for piece, p in zip(pieces, parameters, strict=True)]
        total = torch.zeros_like(vector)
        for weight, loss in losses():
            total += weight * _chunk(loss, parameters, pieces)
        return total

    return product


def _chunk(loss: Tensor, parameters: Sequence[Tensor], pieces: Sequence[Tensor]) -> Tensor:
    first = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    dots = [(g * v).sum() for g, v in zip(first, pieces, strict=True) if g is not None]
    along = torch.stack(dots).sum()
    if not along.requires_grad:
        return torch.zeros_like(torch.cat([p.flatten() for p in pieces]))
    try:
        second = torch.autograd.grad(along, parameters, allow_unused=True)
    except RuntimeError as error:
        raise AusamError(
            f"this model cannot be differentiated twice, so its Hessian is not known ({error})"
        ) from error
    return flatten(second, parameters).detach()


def largest_eigenvalues(
    product: Product, size: int, count: int = 1, iterations: int = 30, seed: int = 0
) -> list[float]:
    """The largest eigenvalues of a symmetric matrix, the largest first.

    Lanczos with full reorthogonalisation: rounding makes no eigenvalue appear twice. It ends early
    where the largest moves by less than a thousandth of itself.

    Args:
        product: ``v ↦ A v`` for ``[size]``, fp32.
        size: number of rows.
        count: how many eigenvalues; the first is the surest.
        iterations: at most so many products.
        seed: of the vector that it begins with.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(size, generator=generator)
    basis, diagonal, beside = [vector / vector.norm()], [], []
    found = torch.zeros(0)
    for step in range(min(iterations, size)):
        image = product(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        for _ in range(2):  # once is not enough in fp32
            for other in basis:
                image = image - (image @ other) * other
        before, found = found, _ritz(diagonal, beside)
        length = float(image.norm())
        settled = step >= count and abs(float(found[-1] - before[-1])) <= 1e-3 * abs(
            float(found[-1])
        )
        if settled or length <= 1e-6 * max(abs(float(found[-1])), 1e-12):
            break
        beside.append(length)
        basis.append(image / length)
    return found.flip(0)[:count].tolist()


def _ritz(diagonal: Sequence[float], beside: Sequence[float]) -> Tensor:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.tensor(beside, dtype=torch.float64)
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
    return torch.linalg.eigvalsh(matrix)
