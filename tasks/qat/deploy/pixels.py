"""Let an ONNX file take images as they lie on disk, and normalise them itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from tasks.qat.deploy.onnx_graph import require

KEY = "input"
"""Names the form of the input in a file's facts: ``images`` or ``pixels``."""


def take_pixels(model: Any, mean: Tensor, std: Tensor) -> Any:
    """Put the normalisation of :mod:`tasks.classification` before a model, to the bit.

    The input ``images``, fp32 ``[N, C, H, W]``, becomes ``pixels``, uint8 ``[N, H, W, C]``, RGB.
    The normalisation is not folded into the first layer: padding, 0 there, would turn from the mean
    colour into black.

    Args:
        model: of :func:`tasks.qat.deploy.export.to_onnx`; it is changed.
        mean, std: ``[C]``, in units of a pixel value.
    """
    onnx = require("onnx", for_int2=False)
    helper, types, graph = onnx.helper, onnx.TensorProto, model.graph
    batch, channels, height, width = graph.input[0].type.tensor_type.shape.dim
    shape = [batch.dim_param, height.dim_value, width.dim_value, channels.dim_value]
    graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", types.UINT8, shape))
    for name, values in (("pixels.mean", mean), ("pixels.std", std)):
        values = values.cpu().numpy().astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    nodes = [
        helper.make_node("Cast", ["pixels"], ["pixels.float"], "pixels.float", to=types.FLOAT),
        helper.make_node("Sub", ["pixels.float", "pixels.mean"], ["pixels.shift"], "pixels.shift"),
        helper.make_node("Div", ["pixels.shift", "pixels.std"], ["pixels.unit"], "pixels.unit"),
        helper.make_node("Transpose", ["pixels.unit"], ["images"], "images", perm=[0, 3, 1, 2]),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    graph.input[0].doc_string = "images as on disk, RGB, uint8, [N, H, W, C]"
    helper.set_model_props(model, {**{e.key: e.value for e in model.metadata_props}, KEY: "pixels"})
    onnx.checker.check_model(model, full_check=True)
    return model
