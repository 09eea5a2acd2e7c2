"""Hold an ONNX file to its promise: the integer network of its checkpoint, to the bit.

And, before that, hold the integer network to what was trained: a file that repeats a wrong integer
network is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from ausam_core.errors import AusamError
from tasks.qat.deploy.agreement import Agreement, compare_with_training, flat_outputs
from tasks.qat.deploy.engines import Session
from tasks.qat.deploy.export import with_inner_names
from tasks.qat.deploy.integer import Accumulate, ToCodes
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.onnx_graph import require
from tasks.qat.deploy.pixels import KEY, take_pixels
from tasks.qat.deploy.qdq import VALUES
from tasks.qat.graph import in_mode
from tasks.qat.network import QuantizedNetwork

AGREEMENT = 0.995
"""The share of choices (of a class, of a place along an axis) that a file must make as the integer
network does."""
LAYERS_OF = 32
"""Images that are compared layer by layer; what is inside is large."""


@dataclass
class Verification:
    """What was found.

    Attributes:
        style: of the file.
        training: how the integer network agrees with the training graph.
        differences: constants and nodes of the file that are not those of the checkpoint.
        layers: for each layer, how many numbers differ, and of how many: sums (``exact``), or
            codes of its input (the other styles).
        apart: by how much a code differs at most (not ``exact``).
        images: how many were run.
        classes: whether the network gives class scores, ``[N, classes]``.
        equal: on how many images the outputs are equal to the bit.
        largest: the largest difference of an output.
        agreement: share of choices that are the same: where along the last dimension the largest
            output is; of class scores one an image, of SimCC's one a joint and axis.
        metric: what ``accuracy`` counts.
        accuracy: of the training graph, the integer network and the file, in percent.
        broken: the promises that were not kept, each as a sentence.
    """

    style: str
    training: Agreement
    differences: list[str]
    layers: dict[str, tuple[int, int]] = field(default_factory=dict)
    apart: int = 0
    images: int = 0
    classes: bool = True
    equal: int = 0
    largest: float = 0.0
    agreement: float = 0.0
    metric: str = "top-1 accuracy"
    accuracy: dict[str, float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def read_model(path: str | Path) -> tuple[Any, dict[str, str]]:
    """An ONNX file and what ``tools/qat.py export`` wrote into it.

    Raises:
        AusamError: for a file that is missing, no ONNX file, or not one of ours.
    """
    onnx = require("onnx", for_int2=True)
    if not Path(path).is_file():
        raise AusamError(f"there is no file {path}; write one with tools/qat.py export")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf raises its own kinds
        raise AusamError(f"{path} is no ONNX file, or a damaged one ({error})") from error
    facts = {entry.key: entry.value for entry in model.metadata_props}
    if not {"style", "weights"} <= facts.keys():
        raise AusamError(f"{path} was not written by tools/qat.py export; it names no style")
    return model, facts


@torch.no_grad()
def verify(
    network: QuantizedNetwork,
    model: Any,
    facts: dict[str, str],
    batches: Iterable[tuple[Tensor, Tensor | None, Tensor | None]],
    statistics: tuple[Tensor, Tensor] | None = None,
    engine: str = "onnxruntime",
) -> Verification:
    """Compare a file with the network that it was made of.

    Args:
        network: of the checkpoint; it is run in evaluation mode.
        model, facts: of :func:`read_model`.
        batches: normalised images ``[N, C, H, W]``, labels ``[N]`` where the network gives class
            scores, and pixels, uint8 ``[N, H, W, C]``, where the file takes them.
        statistics: mean and std of the normalisation, for such a file.
        engine: what runs the file, see :mod:`tasks.qat.deploy.engines`.

    Raises:
        AusamError: where ONNX Runtime or the engine is missing or does not take the file.
    """
    found = None
    names = ("training graph", "integer network", "ONNX file")
    right = dict.fromkeys(names, 0)
    agree: list[Tensor] = []
    of_pixels = facts.get(KEY) == "pixels"
    for images, labels, pixels in batches:
        given = pixels if of_pixels else images
        if found is None:
            shape = tuple(images.shape[1:])
            deployed = lower(network, shape)
            expected, inner = with_inner_names(
                deployed, shape, facts["style"], facts["weights"], facts
            )
            if of_pixels:
                expected = take_pixels(expected, *statistics)
            training = compare_with_training(network, deployed, images[:LAYERS_OF])
            found = Verification(facts["style"], training, compare(model, expected))
            run = Session(model, engine=engine)
            pair = images[:LAYERS_OF], given[:LAYERS_OF]
            if found.style == "exact":
                found.layers = compare_sums(deployed, model, inner, *pair)
            else:
                found.layers, found.apart = compare_codes(deployed, model, inner, *pair)
        with in_mode(network, False):
            trained = network(images)
        answers = [flat_outputs(a) for a in (trained, deployed(images), run(given))]
        found.classes = answers[0][0].dim() == 2
        if found.classes:
            for name, outputs in zip(names, answers, strict=True):
                right[name] += int((outputs[0].argmax(1) == labels).sum())
        ours, theirs = (torch.cat([o.flatten(1) for o in outputs], 1) for outputs in answers[1:])
        found.images += len(images)
        found.equal += int((ours == theirs).all(1).sum())
        found.largest = max(found.largest, float((ours - theirs).abs().max()))
        agree.append(_same_choices(*answers[1:]))
    if found is None:
        raise AusamError("there is no image to verify with; take --images 1 or more")
    found.agreement = float(torch.cat(agree).double().mean())
    found.accuracy = {name: 100 * count / found.images for name, count in right.items()}
    found.broken = _broken(found, to_the_bit=found.style == "exact" and engine == "onnxruntime")
    return found


def _same_choices(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """For each row of each output whether its largest value is at the same place; bool, flat."""
    pairs = zip(ours, theirs, strict=True)
    return torch.cat([(a.argmax(-1) == b.argmax(-1)).flatten() for a, b in pairs])


def compare(model: Any, expected: Any) -> list[str]:
    """Where a file is not what the checkpoint gives: constants, then nodes, by name."""
    onnx = require("onnx", for_int2=True)
    found = []
    theirs = {tensor.name: tensor for tensor in model.graph.initializer}
    for tensor in expected.graph.initializer:
        other = theirs.pop(tensor.name, None)
        if other is None:
            found.append(f"the constant {tensor.name} is missing")
        elif other.SerializeToString() != tensor.SerializeToString():
            pair = [onnx.numpy_helper.to_array(t) for t in (tensor, other)]
            if pair[0].shape != pair[1].shape:
                found.append(f"the constant {tensor.name} has another shape")
            else:
                count = int((pair[0] != pair[1]).sum())
                found.append(f"{count} of {pair[0].size} values of {tensor.name} differ")
    found += [f"the constant {name} is not in the checkpoint's network" for name in theirs]
    nodes = {node.name: node.SerializeToString() for node in model.graph.node}
    for node in expected.graph.node:
        if nodes.pop(node.name, None) != node.SerializeToString():
            found.append(f"the node {node.name} ({node.op_type}) is missing or changed")
    return found + [f"the node {name} is not in the checkpoint's network" for name in nodes]


def compare_sums(
    deployed: fx.GraphModule, model: Any, inner: dict[str, str], images: Tensor, given: Tensor
) -> dict[str, tuple[int, int]]:
    """For each layer how many of its sums differ between module and file, and of how many.

    ``inner`` names what holds them in the file; ``given`` is what the file takes, ``images`` or
    their pixels.
    """
    ours = _outputs(deployed, Accumulate, images)
    theirs = Session(model, [inner[name] for name in ours])(given)
    names = [name.removesuffix(".accumulate") for name in ours]
    pairs = zip(ours.values(), theirs, strict=True)
    return dict(zip(names, (_differing(*pair) for pair in pairs), strict=True))


def compare_codes(
    deployed: fx.GraphModule, model: Any, inner: dict[str, str], images: Tensor, given: Tensor
) -> tuple[dict[str, tuple[int, int]], int]:
    """For each quantized tensor how many codes flipped between module and file, and of how many;
    and by how much at most."""
    ours = _outputs(deployed, ToCodes, images)
    theirs = Session(model, [inner[name] for name in ours])(given)
    found, apart = {}, 0
    for (name, codes), values in zip(ours.items(), theirs, strict=True):
        if inner[name].endswith(VALUES):  # codes times their step, as the file holds it
            values = (values / deployed.get_submodule(name).step.float()).round()
        found[name] = _differing(codes, values)
        apart = max(apart, int((codes - values).abs().max()))
    return found, apart


def _outputs(deployed: fx.GraphModule, kind: type, images: Tensor) -> dict[str, Tensor]:
    """What the modules of a kind give, by name, in the order of the graph."""
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, y, name=name: outputs.update({name: y}))
        for name, module in deployed.named_modules()
        if isinstance(module, kind)
    ]
    deployed(images)
    for hook in hooks:
        hook.remove()
    return outputs


def _differing(ours: Tensor, theirs: Tensor) -> tuple[int, int]:
    """How many of whole numbers differ, and of how many; all, where the shapes do."""
    if ours.shape != theirs.shape:
        return ours.numel(), ours.numel()
    return int((ours.double() != theirs.double()).sum()), ours.numel()


def report(found: Verification) -> str:
    """The findings as text."""
    ties, codes = (sum(counts) for counts in zip(*found.training.ties.values(), strict=True))
    lines = [
        f"style {found.style}, {found.images} images",
        f"training graph and integer network: {ties} of {codes} codes differ, ties within "
        f"{found.training.farthest:.1g} of a code; outputs within {found.training.output:.1g}",
    ]
    what = "sums" if found.style == "exact" else "codes"
    for name, (differ, total) in found.layers.items():
        lines.append(f"  {what} of {name:<24} {differ:>8} of {total:>9} differ")
    differ, total = (sum(counts) for counts in zip(*found.layers.values(), strict=True))
    lines.append(f"{what} that differ: {100 * differ / total:.4f} %")
    output, choice, of = _words(found)
    lines.append(f"{output}s equal to the bit on {found.equal} of {found.images} images")
    lines.append(f"largest difference of a value: {found.largest:.3g}")
    lines.append(f"same {choice} in {100 * found.agreement:.2f} % of the {of}")
    if any(found.accuracy.values()):
        lines += [f"{found.metric} of the {n:<16} {v:.2f} %" for n, v in found.accuracy.items()]
    lines += [f"BROKEN: {sentence}" for sentence in found.broken]
    return "\n".join([*lines, *([] if found.broken else ["verified"])])


def _words(found: Verification) -> tuple[str, str, str]:
    """What an output is called, what its largest value chooses, and of what that is one."""
    if found.classes:
        return "logit", "class", "images"
    return "output", "place of the largest value", "rows"


def _broken(found: Verification, to_the_bit: bool) -> list[str]:
    output, choice, of = _words(found)
    broken = [*found.training.broken[:3], *found.differences[:10]]
    if len(found.differences) > 10:
        broken.append(f"and {len(found.differences) - 10} more differences from the checkpoint")
    for name, (differ, total) in found.layers.items():
        if differ and found.style == "exact":
            broken.append(f"the sums of layer {name} differ first ({differ} of {total})")
            break
    if to_the_bit and found.equal != found.images:
        broken.append(f"the {output}s differ on {found.images - found.equal} images")
    if found.style == "portable" and found.apart > 1:
        broken.append(f"a code is {found.apart} from that of the integer network, more than one")
    if found.agreement < AGREEMENT:
        share = 100 * (1 - found.agreement)
        broken.append(f"the {choice} is another in {share:.2f} % of the {of}")
    return broken
