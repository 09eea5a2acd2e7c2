"""A little builder around ``onnx.helper``, and what must be installed for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np

from ausam_core.errors import AusamError

INSTALL = 'pip install "ausam[export]"'
INT2_OPSET, INT2_IR = 25, 13
"""2-bit types exist since opset 25 and IR 13 (onnx 1.20); ONNX Runtime reads no later ones yet."""
INT4_OPSET, INT4_IR = 21, 10
_NEEDS = {"onnx": (1, 20), "onnxruntime": (1, 31)}


def require(name: str, *, for_int2: bool) -> ModuleType:
    """Import onnx or onnxruntime.

    Raises:
        AusamError: it is missing, or too old for 2-bit types: says the version and what to do.
    """
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise AusamError(f"{name} is not installed; {INSTALL}") from error
    found = tuple(int(part) for part in module.__version__.split(".")[:2])
    needed = _NEEDS[name]
    if for_int2 and found < needed:
        newer = f"Python 3.11 or later and {INSTALL}" if sys.version_info < (3, 11) else INSTALL
        raise AusamError(
            f"{name} {module.__version__} has no 2-bit types, {'.'.join(map(str, needed))} is "
            f"needed; {newer}, or export with --target portable"
        )
    return module


class OnnxGraph:
    """Collects the nodes and constants of a graph.

    Args:
        int2: allow 2-bit types, which need a newer opset.
        outputs: names that are kept for :meth:`free`.
    """

    def __init__(self, int2: bool, outputs: Iterable[str] = ()) -> None:
        self.onnx = require("onnx", for_int2=int2)
        self.int2 = int2
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._taken: set[str] = {"images", *outputs}

    def add(
        self, op: str, inputs: list[str], output: str, *, outputs: list[str] | None = None, **attrs
    ) -> str:
        """A node; returns the name of its (first) output, which may have got a number."""
        named = [self._unused(name) for name in outputs or [output]]
        label = self._unused(output) if outputs else named[0]
        self.nodes.append(self.onnx.helper.make_node(op, inputs, named, name=label, **attrs))
        self._taken.update([*named, label])
        return named[0]

    def constant(self, name: str, values: Any, dtype: str) -> str:
        """A constant of a NumPy dtype or a packed ONNX integer type; returns its name.

        Args:
            name: a second constant of the same name and value is the same constant.
            values: array or number.
            dtype: ``"float32"``, ``"float64"``, ``"int64"``, ``"uint8"``, ``"int8"``, or a packed
                type: ``"int2"``, ``"int4"``, ``"uint4"``.
        """
        kind = getattr(
            self.onnx.TensorProto,
            {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper()),
        )
        array = np.asarray(values)
        bits = {"int2": 2, "int4": 4, "uint4": 4}.get(dtype)
        data = array.astype(dtype).tobytes() if bits is None else pack(array, bits)

        def tensor(name: str) -> Any:
            # Raw bytes: the other form stores a byte above 127 in two, a negative int8 in ten.
            return self.onnx.helper.make_tensor(name, kind, array.shape, data, raw=True)

        if name in self.constants and self.constants[name] == tensor(name):
            return name
        name = self._unused(name)
        self.constants[name] = tensor(name)
        self._taken.add(name)
        return name

    def free(self, output: str) -> str:
        """The name of an output, which now may be given."""
        self._taken.discard(output)
        return output

    def _unused(self, wanted: str) -> str:
        """Each name of a graph may be given once, whatever modules are called."""
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def model(
        self,
        image_shape: tuple[int, ...],
        outputs: dict[str, tuple[int, ...]],
        metadata: dict[str, str],
    ) -> Any:
        """The finished model, checked by onnx.

        Args:
            image_shape: of one input, ``images``.
            outputs: shapes of one sample, by name.
            metadata: goes into the file.
        """
        helper, types = self.onnx.helper, self.onnx.TensorProto
        graph = helper.make_graph(
            self.nodes,
            "ausam",
            [helper.make_tensor_value_info("images", types.FLOAT, ["N", *image_shape])],
            [
                helper.make_tensor_value_info(name, types.FLOAT, ["N", *shape])
                for name, shape in outputs.items()
            ],
            initializer=list(self.constants.values()),
        )
        opset, ir = (INT2_OPSET, INT2_IR) if self.int2 else (INT4_OPSET, INT4_IR)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="ausam"
        )
        model.ir_version = ir
        graph_input = model.graph.input[0]
        graph_input.doc_string = "normalised images, fp32, [N, C, H, W]"
        model.doc_string = (
            "An integer network; style, storage, normalisation and classes stand in the metadata."
        )
        helper.set_model_props(model, metadata)
        self.onnx.checker.check_model(model, full_check=True)
        return model


def pack(values: np.ndarray, bits: int) -> bytes:
    """Integers in 2 or 4 bits, the first in the lowest bits of a byte, as ONNX wants them."""
    per_byte = 8 // bits
    flat = values.astype(np.int64).flatten() & (2**bits - 1)
    flat = np.pad(flat, (0, -len(flat) % per_byte)).reshape(-1, per_byte)
    return (flat << (bits * np.arange(per_byte))).sum(1).astype(np.uint8).tobytes()
