"""The integer network computes what the training graph computes, but for ties.

An ONNX file can agree to the bit with an integer network that was lowered wrong. So the training
graph itself is held against it, quantizer by quantizer: each part of the integer network is given
the codes that the *training graph* had, and has to find the codes of the next quantizer. Then an
error does not travel, and a code may differ for one reason alone: the value lay so near the border
between two codes that fp32 and fp64 round it to different sides.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from ausam_core.errors import AusamError
from tasks.qat.deploy.integer import ToCodes
from tasks.qat.graph import output_nodes
from tasks.qat.network import QuantizedNetwork

TIE = 1e-3
"""How far from the border between two codes a value may lie that fp32 puts on the other side, in
codes; fp32 sums of some thousand products are off by less."""
OUTPUT = 1e-4
"""How much an output of the training graph may differ, as a share of the largest."""


@dataclass
class Agreement:
    """What was found.

    Attributes:
        ties: for each quantizer how many codes differ, and of how many.
        farthest: the largest distance from a border among the codes that differ.
        output: the largest difference of an output, as a share of the largest output.
        broken: what is no tie, a sentence each.
    """

    ties: dict[str, tuple[int, int]] = field(default_factory=dict)
    farthest: float = 0.0
    output: float = 0.0
    broken: list[str] = field(default_factory=list)


@torch.no_grad()
def compare_with_training(
    network: QuantizedNetwork, deployed: fx.GraphModule, images: Tensor
) -> Agreement:
    """Hold the training graph, in evaluation mode, against the integer network.

    Args:
        network: is copied, and not changed.
        deployed: its integer form.
        images: ``[N, C, H, W]``, some that excite the network.
    """
    network = copy.deepcopy(network).float().eval()
    codes: dict[str, Tensor] = {}
    for name, quantizer in network.activations().items():
        quantizer.register_forward_hook(
            lambda module, _, values, name=name: codes.update({name: values / module.step})
        )
    expected = flat_outputs(network(images.float()))
    interpreter = _Forced(deployed, {name: c.round() for name, c in codes.items()})
    found = interpreter.agreement
    results = flat_outputs(interpreter.run(images.float()))
    for name, ours, theirs in zip(output_nodes(network.body), results, expected, strict=True):
        largest = float(theirs.abs().max())
        share = float((ours - theirs).abs().max()) / largest if largest else 0.0
        found.output = max(found.output, share)
        if not share <= OUTPUT:
            found.broken.append(
                f"{name} of the integer network is off by {share:.2g} of the largest value from "
                "that of the training graph"
            )
    return found


def hold_to_training(
    network: QuantizedNetwork, deployed: fx.GraphModule, images: Tensor
) -> Agreement:
    """As :func:`compare_with_training`, refusing what is no tie.

    Raises:
        AusamError: names the first quantizer where the two part.
    """
    found = compare_with_training(network, deployed, images)
    if found.broken:
        raise AusamError(
            f"the integer network does not compute what was trained: {found.broken[0]}; please "
            "report the network"
        )
    return found


def flat_outputs(outputs: Any) -> list[Tensor]:
    """One tensor, or a tuple, list or dict of them, as a list."""
    if isinstance(outputs, Tensor):
        return [outputs]
    return list(outputs.values() if isinstance(outputs, dict) else outputs)


class _Forced(fx.Interpreter):
    """Runs an integer network, putting given codes in the place of those that it finds."""

    def __init__(self, deployed: fx.GraphModule, codes: dict[str, Tensor]) -> None:
        super().__init__(deployed)
        self.codes, self.agreement = codes, Agreement()

    def call_module(self, target: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        module = self.module.get_submodule(target)
        if not isinstance(module, ToCodes):
            return super().call_module(target, args, kwargs)
        ours, theirs = module(*args), self.codes[target]
        differ = ours != theirs
        count, total = int(differ.sum()), differ.numel()
        self.agreement.ties[target] = count, total
        if count:
            self._judge(target, module.scaled(*args)[differ], (ours - theirs)[differ], total)
        return theirs

    def _judge(self, name: str, scaled: Tensor, apart: Tensor, total: int) -> None:
        distance = (scaled - scaled.floor() - 0.5).abs()
        found, farthest = self.agreement, float(distance.max())
        found.farthest = max(found.farthest, farthest)
        if not farthest <= TIE or float(apart.abs().max()) > 1:
            wrong = int(((distance > TIE) | (apart.abs() > 1)).sum())
            found.broken.append(
                f"{wrong} of {total} codes of {name} differ from the training graph's, and are no "
                "ties"
            )
