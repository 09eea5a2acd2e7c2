"""PCKh of the float network, the training graph and the file, side by side."""

from __future__ import annotations

from typing import Any

from tasks.qat.deploy.agreement import flat_outputs
from tasks.qat.deploy.engines import Session
from tasks.qat.deploy.verify import Verification
from tasks.qat.mmengine.pose.data import float_answer, pckh
from tasks.qat.mmengine.pose.estimator import QuantizedPoseEstimator

BOUND = 0.5
"""How many points of PCKh a file may differ from its training graph. The integer network is held
against that code by code, so that ties alone are left: with a few of them, joints that lie at the
border of a head length."""


def add_pckh(
    found: Verification,
    model: QuantizedPoseEstimator,
    onnx_model: Any,
    images: int | None = None,
    engine: str = "onnxruntime",
) -> None:
    """Score the networks on the test set, and hold the file to the training graph.

    Args:
        found: gets the metric, its values, and a sentence where the promise is broken.
        model: of :func:`~tasks.qat.mmengine.checkpoint.load_quantized`.
        onnx_model: the ``onnx.ModelProto`` that was verified.
        images: how many persons; all by default.
        engine: what runs the file.
    """
    file = Session(onnx_model, engine=engine)
    answers = {
        "float network": float_answer(model),
        "training graph": lambda images: tuple(flat_outputs(model.net(images))),
        "ONNX file": lambda images: tuple(file(images)),
    }
    known = {name: answer for name, answer in answers.items() if answer is not None}
    found.metric, found.accuracy = "PCKh@0.5", pckh(model, known, images)
    apart = abs(found.accuracy["ONNX file"] - found.accuracy["training graph"])
    if not apart <= BOUND:
        found.broken.append(
            f"PCKh of the file is {apart:.2f} points from that of the training graph, more than "
            f"{BOUND}"
        )
