"""The bits of a network as a tensor: it goes with the state, so that a state of others is told."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tasks.qat.grid import Grid
from tasks.qat.policy import LayerRow


def bits_of(table: list[LayerRow], between: Mapping[str, Grid]) -> Tensor:
    """Bits of weight and input, and whether the input is signed; int64, ``[rows, 3]``.

    Args:
        table: a row for each call of a layer; these come first.
        between: what is rounded for sums and functions, and read by no layer; without a weight.
    """
    calls = [[row.weight_bits, row.activation_bits, int(row.signed)] for row in table]
    others = [[0, grid.bits, int(grid.signed)] for grid in between.values()]
    return torch.tensor([*calls, *others])


def difference(
    table: list[LayerRow], between: Mapping[str, Grid], theirs: Tensor, ours: Tensor
) -> str:
    """Where the bits of a state are not those of the network with these rows."""
    calls = [int((bits[:, 0] > 0).sum()) for bits in (theirs, ours)]
    if calls[0] != calls[1]:
        return f"it has {calls[0]} calls of layers, and this one {calls[1]}"
    if len(theirs) != len(ours):
        others = [len(bits) - calls[0] for bits in (theirs, ours)]
        return (
            f"it rounds {others[0]} tensors for sums and functions that no layer reads, and this "
            f"one {others[1]}"
        )
    names = [*(row.name for row in table), *between]
    rows = zip(names, theirs.tolist(), ours.tolist(), strict=True)
    differing = [(name, a, b) for name, a, b in rows if a != b]
    name, *pair = differing[0]
    theirs, ours = (f"W{weight}A{bits}" if weight else f"{bits} bits" for weight, bits, _ in pair)
    if theirs == ours:
        signs = ["a signed" if signed else "an unsigned" for _, _, signed in pair]
        theirs, ours = (f"{ours} with {sign} input" for sign in signs)
    count = f"{len(differing)} of {len(names)} roundings differ"
    return f"{name} is {theirs} in it and {ours} here ({count})"
