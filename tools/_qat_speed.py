"""How long the files of a network take, side by side in one run: part of `tools/qat.py report`."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.qat.deploy.export import to_onnx
from tasks.qat.deploy.lower import lower
from tasks.qat.deploy.onnx_graph import require
from tasks.qat.network import QuantizedNetwork

ROUNDS, WARM_UP = 50, 5
OPSET = 17
FLOAT, OTHERS = "float", "ONNX Runtime's own QDQ"


def installed() -> bool:
    """Whether there is something that writes and runs files."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def files(network: QuantizedNetwork, images: Tensor) -> dict[str, Any]:
    """The network as a float file, in the forms of ``export``, and by ONNX Runtime's quantizer.

    Args:
        network: trained and calibrated, in evaluation mode; it is not changed.
        images: ``[N, C, H, W]``, what ONNX Runtime's quantizer calibrates on.
    """
    shape = tuple(images.shape[1:])
    deployed = lower(network, shape)
    found = {
        FLOAT: _float_file(network, images),
        "exact, int2": to_onnx(deployed, shape, "exact", "int2"),
        "qdq, int8": to_onnx(deployed, shape, "qdq", "int8"),
    }
    try:
        quantization = importlib.import_module("onnxruntime.quantization")
        importlib.import_module("onnxruntime.quantization.shape_inference")
    except ImportError:  # it needs packages that running a file does not
        return found
    found[OTHERS] = _by_onnxruntime(quantization, found[FLOAT], images)
    return found


def time_files(models: dict[str, Any], images: Tensor, rounds: int = ROUNDS) -> dict[str, Tensor]:
    """Milliseconds for a batch, ``[rounds]`` for each file; one thread, the files in turn.

    Who follows whom changes from round to round: a file finds the caches as the last one left them.
    """
    runtime = require("onnxruntime", for_int2=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = {
        name: runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for name, model in models.items()
    }
    given = {"images": np.ascontiguousarray(images.numpy())}
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    names, random = list(sessions), Random(0)
    for _ in range(WARM_UP + rounds):
        random.shuffle(names)
        for name in names:
            start = time.perf_counter()
            sessions[name].run(None, given)
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: torch.tensor(values[WARM_UP:]) for name, values in taken.items()}


def to_rows(times: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Median and quartiles in ms, and the ratio of the median to that of the float file."""
    float_median = float(times[FLOAT].quantile(0.5))
    rows = []
    for name, values in times.items():
        low, median, high = (float(values.quantile(q)) for q in (0.25, 0.5, 0.75))
        ratio = median / float_median
        rows.append(dict(file=name, ms=median, ms_low=low, ms_high=high, ratio_to_float=ratio))
    return rows


def to_text(rows: list[dict[str, Any]], batch: int) -> str:
    """A table."""
    lines = [f"ONNX Runtime, one thread, batches of {batch}: ms, median (quartiles), by float"]
    for row in rows:
        quartiles = f"({row['ms_low']:.2f} - {row['ms_high']:.2f})"
        lines.append(
            f"{row['file']:<24}{row['ms']:>8.2f} {quartiles:<20}{row['ratio_to_float']:.2f}"
        )
    return "\n".join(lines)


def _float_file(network: QuantizedNetwork, images: Tensor) -> Any:
    """The same weights without a rounding, as torch exports it."""
    onnx = require("onnx", for_int2=False)
    network = copy.deepcopy(network).eval()
    network.behaviour.floats = True
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "float.onnx")
        torch.onnx.export(
            network,
            (images[:2],),
            path,
            input_names=["images"],
            dynamic_axes={"images": {0: "N"}},
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(path)


def _by_onnxruntime(quantization: Any, model: Any, images: Tensor) -> Any:
    """Static quantization to 8 bits as its documentation recommends it for x86 processors."""
    onnx = require("onnx", for_int2=False)

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{"images": images.numpy()}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        source, folded, target = (str(Path(folder) / f"{i}.onnx") for i in range(3))
        onnx.save(model, source)
        # folds BatchNorm, as the quantizer wants it
        quantization.shape_inference.quant_pre_process(source, folded, skip_symbolic_shape=True)
        quantization.quantize_static(
            folded,
            target,
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(target)
