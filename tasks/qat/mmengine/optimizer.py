"""Parameter groups of quantized training: three, not one a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from ausam_core.errors import AusamError
from tasks.qat.steps import is_step


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class QuantizationOptimWrapperConstructor:
    """Weight decay on latent weights alone; the steps in a group of their own.

    MMEngine's own constructor makes a group of each parameter, and an optimizer runs its kernels
    once a group.

    Args:
        optim_wrapper_cfg: config of the wrapper.
        paramwise_cfg: ``step_lr_mult``, the factor on the learning rate of steps; 1 by default, as
            LSQ scales their gradient instead.
    """

    def __init__(
        self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None
    ) -> None:
        settings = dict(paramwise_cfg or {})
        self.step_lr_mult = settings.pop("step_lr_mult", 1.0)
        if settings:
            raise AusamError(
                f"paramwise_cfg of quantized training has no setting {', '.join(settings)}; it has "
                "step_lr_mult"
            )
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        config = self.optim_wrapper_cfg
        optimizer = dict(config.pop("optimizer"))
        optimizer["params"] = groups(model, optimizer["lr"] * self.step_lr_mult)
        config.setdefault("type", "SAMOptimWrapper")
        config["optimizer"] = OPTIMIZERS.build(optimizer)
        return OPTIM_WRAPPERS.build(config)


def groups(model: nn.Module, step_lr: float) -> list[dict[str, Any]]:
    """Latent weights; biases and BatchNorm, not decayed; steps, not decayed."""
    weights, others, steps = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # a teacher's
            continue
        if is_step(name):
            steps.append(parameter)
        else:
            (weights if parameter.dim() > 1 else others).append(parameter)
    return [
        dict(params=weights),
        dict(params=others, weight_decay=0.0),
        dict(params=steps, weight_decay=0.0, lr=step_lr),
    ]
