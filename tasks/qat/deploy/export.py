"""An integer network as an ONNX file, in three styles.

``exact`` repeats the integer network operation by operation: its results equal those of the torch
module to the bit. ``portable`` is the same in types that every engine has, with fp32 where
``exact`` has fp64. ``qdq`` is the standard form with QuantizeLinear and DequantizeLinear, for other
tools; the same numbers in another order of roundings, so a code may flip now and then.

Weights lie in 2 bits (``int2``) or in 8 (``int8``, for readers older than opset 25). No runtime has
a fast convolution for 2 bits: the file is small, not fast. The fast one is ``qdq`` with ``int8``.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import fx
from torch.fx.passes.shape_prop import ShapeProp

from ausam_core.errors import AusamError
from tasks.qat.deploy.emitter import shape_of
from tasks.qat.deploy.exact import Exact
from tasks.qat.deploy.onnx_graph import OnnxGraph
from tasks.qat.deploy.portable import Portable
from tasks.qat.deploy.qcdq import Qcdq
from tasks.qat.deploy.qdq import Qdq

Style = Literal["exact", "portable", "qdq"]
Storage = Literal["int2", "int8"]
_EMITTERS = {"exact": Exact, "portable": Portable, "qdq": Qdq}


def to_onnx(
    deployed: fx.GraphModule,
    image_shape: tuple[int, int, int],
    style: Style = "exact",
    weights: Storage = "int2",
    metadata: dict[str, str] | None = None,
) -> Any:
    """The ONNX model of an integer network.

    Args:
        deployed: of :func:`tasks.qat.deploy.lower.lower`.
        image_shape: ``(C, H, W)`` of the normalised images that it takes.
        style, weights: see the module.
        metadata: goes into the file.

    Returns:
        An ``onnx.ModelProto`` that onnx's checker has passed.

    Raises:
        AusamError: for an unknown style, and for an onnx that is missing or too old.
    """
    return with_inner_names(deployed, image_shape, style, weights, metadata)[0]


def with_inner_names(
    deployed: fx.GraphModule,
    image_shape: tuple[int, int, int],
    style: Style,
    weights: Storage,
    metadata: dict[str, str] | None = None,
) -> tuple[Any, dict[str, str]]:
    """As :func:`to_onnx`; and for each quantizer and sum of the network its name in the file."""
    if style not in _EMITTERS or weights not in ("int2", "int8"):
        raise AusamError(
            f"style must be exact, portable or qdq and weights int2 or int8, found {style} and "
            f"{weights}"
        )
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise AusamError(f"metadata is text by name, found {key!r}: {value!r}; take str(…)")
    if style == "portable" and weights == "int2":
        raise AusamError('a portable file has no 2-bit types; take weights="int8"')
    with torch.no_grad():
        ShapeProp(deployed).propagate(torch.zeros(2, *image_shape))
    graph = OnnxGraph(weights == "int2", deployed.outputs)
    kind = Qcdq if (style, weights) == ("qdq", "int8") else _EMITTERS[style]
    emitter = kind(deployed, graph, weights)
    for node in deployed.graph.nodes:
        emitter.emit(node)
    results = [n for n in deployed.graph.nodes if n.op == "call_method" and n.target == "float"]
    outputs = {emitter.names[node]: tuple(shape_of(node)[1:]) for node in results}
    facts = {**(metadata or {}), "style": style, "weights": weights}  # what it is, first of all
    return graph.model(image_shape, outputs, facts), emitter.inner
