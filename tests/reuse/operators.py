"""MMDetection and MMSegmentation import the compiled operators of the full mmcv, for which there is
no wheel for a recent torch. Their models train without most of them: on the CPU the losses are
written in Python, and only prediction asks for boxes to be suppressed."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Operators(ModuleType):
    """Has every name that is asked for; to call one is an error that says so."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError(f"{name} is a compiled operator of mmcv, which is not there")

        return missing


def stand_in() -> None:
    """Let ``mmcv.ops`` import where it was not compiled."""
    mmcv = importlib.import_module("mmcv")
    try:
        importlib.import_module("mmcv._ext")
    except ImportError:
        mmcv._ext = sys.modules["mmcv._ext"] = _Operators("mmcv._ext")
        mmcv._ext.__spec__ = ModuleSpec("mmcv._ext", loader=None)
