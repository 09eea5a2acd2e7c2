"""Which form of file an engine reads best, and running a file in it.

Decided by running the files, see ``tests/tasks/qat/deploy/test_engines.py``: ONNX Runtime computes
``exact`` to the bit, from 2-bit weights. OpenVINO 2026 has no 2-bit types and computes fp64 in
fp32, which the style ``portable`` is made for; its passes for low precision flip codes of ``qdq``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ausam_core.errors import AusamError
from tasks.qat.deploy.onnx_graph import require


@dataclass(frozen=True)
class Form:
    """Style and storage of a file, see :mod:`tasks.qat.deploy.export`."""

    style: str
    weights: str


TARGETS = {
    "onnxruntime": Form("exact", "int2"),
    "openvino": Form("portable", "int8"),
    "portable": Form("portable", "int8"),
}
ENGINES = ("onnxruntime", "openvino")


def form_of(target: str, style: str | None = None, weights: str | None = None) -> Form:
    """The form for an engine; style and weights that are given take its place.

    Raises:
        AusamError: for an unknown target.
    """
    if target not in TARGETS:
        raise AusamError(f"there is no target {target!r}; there are {', '.join(TARGETS)}")
    form = TARGETS[target]
    return Form(style or form.style, weights or form.weights)


class Session:
    """A function from images to what a file gives, or to the named values inside its graph.

    Args:
        model: the ``onnx.ModelProto``.
        outputs: names of values inside; by default the file's outputs.
        engine: ``"onnxruntime"`` or ``"openvino"``.

    Raises:
        AusamError: where the engine is missing or does not take the file.
    """

    def __init__(
        self, model: Any, outputs: list[str] | None = None, engine: str = "onnxruntime"
    ) -> None:
        if engine not in ENGINES:
            raise AusamError(f"there is no engine {engine!r}; there are {', '.join(ENGINES)}")
        self._run = (_onnxruntime if engine == "onnxruntime" else _openvino)(model, outputs)

    def __call__(self, images: Tensor) -> list[Tensor]:
        values = self._run(np.ascontiguousarray(images.numpy()))
        return [torch.from_numpy(np.array(value)) for value in values]


def _onnxruntime(model: Any, outputs: list[str] | None) -> Any:
    runtime = require("onnxruntime", for_int2=model.opset_import[0].version >= 25)
    if outputs:
        onnx = require("onnx", for_int2=True)
        model = onnx.ModelProto.FromString(model.SerializeToString())
        for name in outputs:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the runtime raises its own kinds
        raise AusamError(
            f"ONNX Runtime {runtime.__version__} does not take the file ({error})"
        ) from error
    (taken,) = session.get_inputs()
    return lambda images: session.run(outputs, {taken.name: images})


def _openvino(model: Any, outputs: list[str] | None) -> Any:
    try:
        openvino = importlib.import_module("openvino")
    except ImportError as error:
        raise AusamError("openvino is not installed; pip install openvino") from error
    core = openvino.Core()
    try:
        read = core.read_model(model.SerializeToString())
        added = [port.any_name for port in read.add_outputs(outputs)] if outputs else None
        # without the hint it computes in bf16 where the processor can
        compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except Exception as error:  # the engine raises its own kinds
        raise AusamError(
            f"OpenVINO {openvino.__version__} does not take the file ({error}); export with "
            "--target openvino"
        ) from error
    names = added or [port.any_name for port in compiled.outputs]

    def run(images: np.ndarray) -> list[np.ndarray]:
        results = compiled([images])
        return [results[compiled.output(name)] for name in names]

    return run
