"""MMPose's top-down estimator with a quantized network in place of backbone and head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tasks.pose  # noqa: F401  first: lets mmpose run on a current stack

# isort: split
from mmengine.registry import MODELS
from mmpose.models import SimCCHead, TopdownPoseEstimator
from torch import Tensor, nn

from ausam_core.errors import AusamError
from tasks.qat.convert import convert
from tasks.qat.policy import Policy

OUTPUTS = ("simcc_x", "simcc_y")
"""What the network returns, and what the outputs of its file are called."""


class SimCCNetwork(nn.Module):
    """Images in, a score for each joint and bin out: what is quantized of an estimator.

    Its names are those of the estimator, so that a float checkpoint loads as it is.
    """

    def __init__(self, estimator: TopdownPoseEstimator) -> None:
        super().__init__()
        self.backbone, self.head = estimator.backbone, estimator.head
        self.neck = estimator.neck if estimator.with_neck else None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``[N, 3, H, W]`` to ``[N, joints, bins]`` along x and along y."""
        maps = self.backbone(images)
        x, y = self.head(maps if self.neck is None else self.neck(maps))
        return dict(zip(OUTPUTS, (x, y), strict=True))


@MODELS.register_module()
class QuantizedPoseEstimator(TopdownPoseEstimator):
    """A top-down estimator with a SimCC head whose layers are quantized.

    Loss, decoding, flip test and metrics are MMPose's own: the network stands where features are
    extracted, and the head, which keeps none of its layers, takes what the network gives.

    Args:
        policy: settings of :class:`~tasks.qat.policy.Policy`.
        float_checkpoint: of the float estimator, or of a quantized one of other bits, whose steps
            are then chosen anew; where training starts. Read by
            :class:`~tasks.qat.mmengine.QuantizationHook` when a new run begins, and by
            ``tools/qat.py verify`` to compare with.
        from_scratch: start from random weights instead.
        settings: of the float estimator.

    Raises:
        AusamError: for a policy out of range, for another head than SimCC's, and for a layer that
            cannot be quantized.
    """

    def __init__(
        self,
        policy: Mapping[str, Any] | None = None,
        float_checkpoint: str | None = None,
        from_scratch: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not (self.with_head and type(self.head) is SimCCHead):
            found = type(self.head).__name__ if self.with_head else "none"
            raise AusamError(
                f"the head of a quantized estimator must be a SimCCHead, found {found}; other "
                "heads go through tasks.qat.quantize in plain PyTorch"
            )
        if from_scratch:
            super().init_weights()
        self.float_checkpoint, self.from_scratch = float_checkpoint, from_scratch
        self.net = convert(SimCCNetwork(self), Policy.of_config(policy))
        self.backbone = None
        if self.with_neck:
            self.neck = None
        for name, layer in self.head.named_children():
            if list(layer.parameters()):
                setattr(self.head, name, None)
        self.head.forward = _as_it_is

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Both outputs of the whole network, which the head takes as they are."""
        outputs = self.net(inputs)
        return outputs["simcc_x"], outputs["simcc_y"]

    def init_weights(self) -> None:
        """Nothing: they come from the float checkpoint, or were drawn before the conversion."""


def _as_it_is(outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """In place of a head's forward; a plain function, which a copy of the model may share."""
    return outputs
