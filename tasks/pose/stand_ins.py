"""Let MMPose 1.3.2 import beside a current PyTorch and NumPy.

`import mmpose.models` and `import mmpose.datasets` ask for three libraries that SimCC, heatmap
and RTMPose models never call, and that often cannot be installed: compiled `mmcv.ops` (no wheels
for recent PyTorch), `mmdet` (needs the former), `xtcocotools` (built for NumPy 1). Where one of
them does not import, :func:`install` puts a stand-in with just the needed names in its place. A
stand-in says what is missing as soon as anything uses it; where the real library imports, nothing
is touched.
"""

import importlib
import logging
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mmengine.logging import print_log

_INSTALLED: dict[str, str] = {}


def install() -> dict[str, str]:
    """Put stand-ins where the real modules do not import. Calling it again changes nothing.

    Returns:
        The modules that are stood in for, each with the reason why the real one did not import.
    """
    _stand_in(["mmcv.ops"], _mmcv_ops)
    _stand_in(["mmdet.utils"], _mmdet_utils)
    _stand_in(["xtcocotools.coco", "xtcocotools.cocoeval", "xtcocotools.mask"], _xtcocotools)
    return dict(_INSTALLED)


def _stand_in(names: list[str], make: Callable[[str], dict[str, ModuleType]]) -> None:
    """Import the modules or, where that fails, enter what ``make(reason)`` returns."""
    if names[0] in _INSTALLED:
        return
    try:
        for name in names:
            importlib.import_module(name)
        return
    except (
        Exception
    ) as error:  # not only ImportError: mmdet asserts, a NumPy mismatch is a ValueError
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    for name, module in make(reason).items():
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)
    _INSTALLED[names[0]] = reason
    print_log(f"{names[0]} is stood in for ({reason}).", "current", logging.DEBUG)


def _module(name: str, reason: str, **contents: Any) -> ModuleType:
    """A module that explains itself when asked for anything it does not have."""

    def missing(attribute: str) -> Any:
        if attribute.startswith("__"):  # what `inspect`, `copy` and `pickle` try on any module
            raise AttributeError(attribute)
        raise ImportError(
            f"{name}.{attribute} is needed here, but {name} does not import: {reason}."
        )

    module = ModuleType(name, f"Stand-in for {name}.")
    module.__spec__ = ModuleSpec(name, loader=None)  # importlib.util.find_spec refuses None
    module.__dict__.update(contents, __getattr__=missing)
    return module


def _mmcv_ops(reason: str) -> dict[str, ModuleType]:
    class MultiScaleDeformableAttention:
        """Named by the DETR-like heads of MMPose, whose layers need the compiled operators."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError(
                "This model uses MultiScaleDeformableAttention, an operator of the full mmcv, "
                f"which does not import ({reason}); install mmcv with compiled operators to use it."
            )

    # mmcv itself looks into the submodule, and warns at every start where it does not find it.
    contents = {"MultiScaleDeformableAttention": MultiScaleDeformableAttention}
    names = ("mmcv.ops", "mmcv.ops.multi_scale_deform_attn")
    return {name: _module(name, reason, **contents) for name in names}


def _mmdet_utils(reason: str) -> dict[str, ModuleType]:
    """Only the submodule: `import mmdet` keeps failing, so nobody believes that mmdet is there."""

    def reduce_mean(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"This model uses mmdet.utils.reduce_mean, but mmdet does not import ({reason}); "
            "install mmdet to use it."
        )

    # ConfigType only annotates arguments.
    return {"mmdet.utils": _module("mmdet.utils", reason, reduce_mean=reduce_mean, ConfigType=dict)}


def _xtcocotools(reason: str) -> dict[str, ModuleType]:
    """pycocotools has the same reader and masks; its keypoint scores would not be MMPose's."""
    try:
        from pycocotools import coco, mask
    except ImportError as error:
        raise ImportError(
            f"MMPose needs xtcocotools or pycocotools and finds neither ({reason}; {error}): "
            "install pycocotools."
        ) from error

    class COCOeval:
        """Refuses: MMPose passes sigmas and areas that pycocotools would ignore or misread."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError(
                f"COCO evaluation needs xtcocotools, which does not import ({reason}); pycocotools "
                "stands in for reading annotations only, since it would give other scores."
            )

    cocoeval = _module("xtcocotools.cocoeval", reason, COCOeval=COCOeval)
    package = _module("xtcocotools", reason, coco=coco, cocoeval=cocoeval, mask=mask)
    package.__path__ = []
    return {
        "xtcocotools": package,
        "xtcocotools.coco": coco,
        "xtcocotools.cocoeval": cocoeval,
        "xtcocotools.mask": mask,
    }
