"""MMPose's losses of coordinates: classified (SimCC), regressed (RLE, DSNT, 3D), distilled."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from ausam_core.errors import AusamError
from ausam_core.loss_slices import all_at_once
from ausam_core.mmengine.loss_handlers.arguments import arguments, with_dims_of
from ausam_core.per_sample_loss import find_handler, register_per_sample_loss
from ausam_core.torch_losses import per_sample, unreduced

_LOSSES = "mmpose.models.losses."
_CLASSIFICATION = _LOSSES + "classification_loss."
_REGRESSION = _LOSSES + "regression_loss."

register_per_sample_loss(
    _CLASSIFICATION + "BCELoss",
    _CLASSIFICATION + "VariFocalLoss",
    _REGRESSION + "OKSLoss",
    _LOSSES + "heatmap_loss.MLECCLoss",
)(unreduced)

register_per_sample_loss(
    _REGRESSION + "SmoothL1Loss",
    _REGRESSION + "L1Loss",
    _REGRESSION + "MSELoss",
    _REGRESSION + "WingLoss",
    _REGRESSION + "SoftWingLoss",
    _REGRESSION + "MPJPELoss",
    _REGRESSION + "MPJPEVelocityJointLoss",
    _LOSSES + "fea_dis_loss.FeaLoss",
)(all_at_once)


@register_per_sample_loss(_CLASSIFICATION + "KLDiscretLoss")
def simcc(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """SimCC: the divergences of the x and y distributions, summed over joints, divided by K.

    The module sums over the batch as well, so the sum of these is what it returns.
    """
    pred_simcc, gt_simcc, target_weight = arguments(
        args, kwargs, "pred_simcc", "gt_simcc", "target_weight"
    )
    n, k, _ = pred_simcc[0].shape
    weight = target_weight.reshape(n, k) if module.use_target_weight else 1.0
    total = 0.0
    for pred, target in zip(pred_simcc, gt_simcc, strict=True):
        joints = module.criterion(pred.flatten(0, 1), target.flatten(0, 1)).reshape(n, k) * weight
        if module.mask is not None:
            joints[:, module.mask] *= module.mask_weight
        total = total + joints.sum(1)
    return total / k


@register_per_sample_loss(_CLASSIFICATION + "JSDiscretLoss")
def dsnt(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """DSNT's regulariser: the divergence of heatmaps, summed over joints and pixels."""
    names = ("pred_hm", "gt_hm", "target_weight")
    pred, target, target_weight = arguments(args, kwargs, *names)
    if module.use_target_weight:
        weight = with_dims_of(target_weight, pred)
        pred, target = pred * weight, target * weight
    return module.js(pred, target).flatten(1).sum(1)


@register_per_sample_loss(_LOSSES + "logit_dis_loss.KDLoss")
def logits_of_teacher(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Distillation of SimCC: divergences from the teacher's, summed over joints, divided by K."""
    preds, teacher, beta, _ = arguments(args, kwargs, "pred", "pred_t", "beta", "target_weight")
    total: Any = 0.0
    for pred, target in zip(preds, teacher, strict=True):
        log_p, q = (pred * beta).log_softmax(-1), (target * beta).softmax(-1)
        total = total + module.kl_loss(log_p, q).flatten(1).sum(1)
    return module.weight * total / preds[0].size(1)


@register_per_sample_loss(_REGRESSION + "RLELoss")
def rle(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Residual log-likelihood, summed over joints and axes; the flow runs once more for it."""
    pred, sigma, target, target_weight = arguments(
        args, kwargs, "pred", "sigma", "target", "target_weight"
    )
    sigma = sigma.sigmoid()
    error = (pred - target) / (sigma + 1e-9)
    log_phi = module.flow_model.log_prob(error.reshape(-1, 2)).reshape(*target.shape[:2], 1)
    loss = sigma.log().reshape(*target.shape[:2], 2) - log_phi
    if module.residual and module.q_distribution == "laplace":
        loss = loss + (sigma * 2).log() + error.abs()
    elif module.residual:
        loss = loss + (sigma * math.sqrt(2 * math.pi)).log() + 0.5 * error**2
    if module.use_target_weight:
        loss = loss * target_weight
    return loss.flatten(1).sum(1)


@register_per_sample_loss(_REGRESSION + "SoftWeightSmoothL1Loss")
def soft_weight(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Smooth L1; without ``supervise_empty`` over the number of weights in the whole batch."""
    output, target, target_weight = arguments(args, kwargs, "output", "target", "target_weight")
    loss = module.criterion(output, target, reduction="none")
    if not module.use_target_weight:
        return loss.flatten(1).mean(1) * module.loss_weight
    weight = with_dims_of(target_weight, output)
    loss = (loss * weight).flatten(1)
    if module.supervise_empty:
        return loss.mean(1) * module.loss_weight
    return loss.sum(1) * len(loss) / (weight > 0).sum().clamp(min=1) * module.loss_weight


@register_per_sample_loss(_LOSSES + "loss_wrappers.MultipleLossWrapper")
def multiple(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """DSNT and its like: a list of losses, which the head adds up."""
    inputs, targets, weights = arguments(
        args, kwargs, "input_list", "target_list", "keypoint_weights"
    )
    total: Any = 0.0
    for part, output, target in zip(module.loss_modules, inputs, targets, strict=True):
        handler = find_handler(part) or all_at_once
        losses = handler(part, (output, target, weights), {})
        if losses is NotImplemented:
            raise AusamError(f"there is no handler that serves its part {type(part).__name__}")
        total = total + per_sample(losses, "mean")
    return total
