"""MMEngine's optimizer wrappers with a method in them, and the promotion of MMEngine's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.device import get_device, is_cuda_available, is_npu_available
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from ausam_core.errors import AusamError
from ausam_core.mmengine.method_mixin import MethodMixin


@OPTIM_WRAPPERS.register_module()
class SAMOptimWrapper(MethodMixin, OptimWrapper):
    """``OptimWrapper`` whose update is a method's: SAM, or any other by its config.

    Example:
        >>> optim_wrapper = dict(
        ...     type='SAMOptimWrapper',
        ...     method=dict(type='SAM', rho=0.05),
        ...     optimizer=dict(type='Adam', lr=1e-3, fused=True))
    """


@OPTIM_WRAPPERS.register_module()
class SAMAmpOptimWrapper(MethodMixin, AmpOptimWrapper):
    """``AmpOptimWrapper`` whose update is a method's.

    Nothing is unscaled between the passes, because ``g/‖g‖`` does not depend on the loss scale. On
    a machine without an accelerator it runs in bf16 on the CPU, where MMEngine's own refuses to
    start.

    Args:
        loss_scale, dtype, use_fsdp: see :class:`mmengine.optim.AmpOptimWrapper`.
        **kwargs: see :class:`SAMOptimWrapper`.
    """

    def __init__(
        self,
        loss_scale: str | float | dict[str, Any] = "dynamic",
        dtype: str | torch.dtype | None = None,
        use_fsdp: bool = False,
        *,
        method: Mapping[str, Any] | None = None,
        loss_modules: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if use_fsdp:
            raise AusamError(
                "use_fsdp=True is not supported: the norm of a sharded gradient would miss the "
                "other shards; use DistributedDataParallel"
            )
        if is_cuda_available() or is_npu_available():
            AmpOptimWrapper.__init__(self, loss_scale=loss_scale, dtype=dtype, **kwargs)
        else:
            OptimWrapper.__init__(self, **kwargs)
            self._start_on_the_cpu(loss_scale, dtype)
        self.set_method(method or dict(type="SAM"), loss_modules)

    def _start_on_the_cpu(
        self, loss_scale: str | float | dict[str, Any], dtype: str | torch.dtype | None
    ) -> None:
        if dtype not in (None, "bfloat16", torch.bfloat16):
            raise AusamError(
                f"mixed precision on the CPU is bfloat16, found dtype={dtype!r}; leave dtype out, "
                "or train on a GPU"
            )
        if loss_scale == "dynamic":
            settings = {}
        elif isinstance(loss_scale, float):
            settings = {"init_scale": loss_scale}
        elif isinstance(loss_scale, dict):
            settings = loss_scale
        else:
            raise AusamError(
                f'loss_scale must be "dynamic", a float, or a dict, found {loss_scale!r}'
            )
        self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
        self.loss_scaler = torch.amp.GradScaler(get_device(), **settings)
        self.cast_dtype = torch.bfloat16


_PROMOTED = {OptimWrapper: SAMOptimWrapper, AmpOptimWrapper: SAMAmpOptimWrapper}


def promote(wrapper: Any, method: Mapping[str, Any]) -> None:
    """Turn MMEngine's own wrapper into ours, in place.

    In place, because parameter schedulers have already put their counter on the object's ``step``.

    Raises:
        AusamError: for a wrapper that cannot run a second pass, by name.
    """
    if type(wrapper) not in _PROMOTED:
        raise AusamError(
            f"AUSAMHook can work with OptimWrapper, AmpOptimWrapper, SAMOptimWrapper and "
            f"SAMAmpOptimWrapper, found {type(wrapper).__name__}"
            f"{_why_not(type(wrapper).__name__)}; set optim_wrapper.type to one of those"
        )
    wrapper.__class__ = _PROMOTED[type(wrapper)]
    wrapper.set_method(method)


def _why_not(name: str) -> str:
    return {
        "ApexOptimWrapper": " (Apex moves its loss scale at every backward, and SAM needs two)",
        "OptimWrapperDict": " (with several optimizers the model steps them itself)",
        "DeepSpeedOptimWrapper": " (DeepSpeed's engine owns backward and step)",
    }.get(name, "")
