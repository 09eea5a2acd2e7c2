"""The largest eigenvalues of the Hessian, by Lanczos with Hessian-vector products.

Memory: a vector of all weights for each iteration, and the graph of one chunk of samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

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


class Eigenvalues(NamedTuple):
    """What :func:`largest_eigenvalues` found.

    Attributes:
        values: the largest first.
        errors: for each, a bound: a true eigenvalue is at most so far away.
    """

    values: list[float]
    errors: list[float]


def largest_eigenvalues(
    product: Product, size: int, count: int = 1, products: int | None = None, seed: int = 0
) -> Eigenvalues:
    """The largest eigenvalues of a symmetric matrix.

    Lanczos from ``count`` vectors at once, so that equal eigenvalues are all found (band Lanczos;
    Ruhe 1979), with full reorthogonalisation: rounding makes none appear twice. It ends where each
    is known to a thousandth of itself, or to what fp32 tells beside the largest in absolute value.

    Args:
        product: ``v ↦ A v`` for ``[size]``, fp32.
        size: number of rows.
        count: how many eigenvalues.
        products: at most so many; by default 30, and 40 more for each eigenvalue after the first.
        seed: of the vectors that it begins with.

    Raises:
        AusamError: where a product is not finite.
    """
    count = min(count, size)
    limit = min(size, 30 + 40 * (count - 1) if products is None else products)
    start = torch.randn(count, size, generator=torch.Generator().manual_seed(seed))
    basis: list[Tensor] = []
    for vector in start:
        _extend(basis, vector, 0.0)
    columns: list[Tensor] = []  # A on the basis, in its coordinates
    while len(columns) < min(limit, len(basis)):
        image = product(basis[len(columns)])
        scale = float(image.norm())
        if not math.isfinite(scale):
            raise AusamError(
                "a product with the Hessian is not finite, so it has no eigenvalues; give a "
                "checkpoint whose training did not diverge"
            )
        columns.append(_extend(basis, image, 1e-6 * scale))
        if len(columns) >= count:
            found = _ritz(columns, len(basis), count)
            floor = 1e-5 * found.largest
            if all(e <= max(1e-3 * abs(v), floor) for v, e in zip(*found[:2], strict=True)):
                break
    return Eigenvalues(found.values, found.errors)


def _extend(basis: list[Tensor], vector: Tensor, least: float) -> Tensor:
    """Coordinates of a vector; what the basis lacks of it is added where it is longer than
    ``least``."""
    left, coordinates = vector, torch.zeros(len(basis), dtype=torch.float64)
    for _ in range(2):  # once is not enough in fp32
        for number, other in enumerate(basis):
            part = left @ other
            coordinates[number] += float(part)
            left = left - part * other
    length = float(left.norm())
    if length <= least:
        return coordinates
    basis.append(left / length)
    return torch.cat([coordinates, coordinates.new_tensor([length])])


class _Ritz(NamedTuple):
    values: list[float]
    errors: list[float]
    largest: float  # in absolute value


def _ritz(columns: Sequence[Tensor], rows: int, count: int) -> _Ritz:
    """Eigenvalues of A on the part of the basis that was multiplied, and how far its images of the
    eigenvectors reach beyond that part."""
    size = len(columns)
    matrix = torch.zeros(rows, size, dtype=torch.float64)
    for number, column in enumerate(columns):
        matrix[: len(column), number] = column
    inner = matrix[:size]
    values, vectors = torch.linalg.eigh((inner + inner.T) / 2)
    errors = (matrix[size:] @ vectors).norm(dim=0)
    largest = float(values.abs().max())
    return _Ritz(values.flip(0)[:count].tolist(), errors.flip(0)[:count].tolist(), largest)
