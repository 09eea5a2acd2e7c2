"""Let MMPose read tensors in bfloat16, which NumPy does not have.

The heads of MMPose hand their outputs to NumPy, for the training accuracy and to decode joints, all
through `mmpose.utils.tensor_utils.to_numpy`. Under bf16 autocast (``--amp`` on the CPU, on a GPU
with ``dtype='bfloat16'``, evaluation with ``val_cfg.fp16``) or with weights in bf16 that ends in
"unsupported ScalarType BFloat16". :func:`install` puts a form in its place that widens bfloat16 to
float32, which loses nothing, and is the original for every other type.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from mmpose.utils import tensor_utils

NAME = "to_numpy"


def install() -> None:
    """Replace the function wherever a module of MMPose knows it. Again, it changes nothing."""
    original = tensor_utils.to_numpy
    if hasattr(original, "reads_bfloat16"):
        return
    ours = _widening(original)
    for name, module in list(sys.modules.items()):
        if name.startswith("mmpose.") and vars(module).get(NAME) is original:
            setattr(module, NAME, ours)


def _widening(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def to_numpy(x: Any, *args: Any, **kwargs: Any) -> Any:
        return original(_widened(x), *args, **kwargs)

    to_numpy.reads_bfloat16 = True
    return to_numpy


def _widened(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return x.float() if x.dtype == torch.bfloat16 else x
    if isinstance(x, (list, tuple)):
        return type(x)(_widened(item) for item in x)
    return x
