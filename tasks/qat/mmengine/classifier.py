"""The classifier of `tasks.classification` with a quantized network, and a teacher if wanted."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ausam_core import in_second_pass
from tasks.classification import Classifier
from tasks.qat.convert import convert
from tasks.qat.distillation import check_distillation, distilled
from tasks.qat.policy import Policy


@MODELS.register_module()
class QuantizedClassifier(Classifier):
    """A :class:`~tasks.classification.Classifier` whose network is converted.

    Args:
        net, data_preprocessor, label_smoothing: of the float classifier.
        policy: settings of :class:`~tasks.qat.policy.Policy`.
        float_checkpoint: of the float classifier, or of a quantized one of other bits, whose steps
            are then chosen again; where training starts. Read by
            :class:`~tasks.qat.mmengine.QuantizationHook` when a new run begins, and never again.
        from_scratch: start from random weights instead.
        distillation: ``dict(weight=0.5, temperature=4.0)`` lets the float network teach, see
            :func:`~tasks.qat.distillation.distilled`; ``checkpoint`` names its weights where
            ``float_checkpoint`` is not a float one. The teacher goes with the checkpoint.

    Raises:
        AusamError: for a policy or distillation out of range, and for a layer that cannot be
            quantized.
    """

    def __init__(
        self,
        net: Mapping[str, Any],
        policy: Mapping[str, Any] | None = None,
        float_checkpoint: str | None = None,
        from_scratch: bool = False,
        distillation: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(net, **kwargs)
        self.policy = Policy.of_config(policy)
        self.float_checkpoint, self.from_scratch = float_checkpoint, from_scratch
        self.teacher: nn.Module | None = None
        self._taught: tuple[Tensor, Tensor] | None = None
        if distillation is not None:
            settings = {"weight": 0.5, "temperature": 4.0, "checkpoint": None, **distillation}
            self.teacher_checkpoint = settings.pop("checkpoint")
            check_distillation(**settings)
            self._distillation = settings
            self.teacher = copy.deepcopy(self.net).requires_grad_(False)
        self.net = convert(self.net, self.policy)

    def forward(
        self, inputs: Tensor, labels: Tensor | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | list[dict[str, Tensor]] | Tensor:
        """As that of :class:`Classifier`; the loss of each sample holds the teacher's part."""
        result = super().forward(inputs, labels, mode)
        if mode != "loss" or self.teacher is None:
            return result
        loss = distilled(
            result["loss"], self.last_outputs, self._teach(inputs), **self._distillation
        )
        return dict(loss=loss)

    def train(self, mode: bool = True) -> QuantizedClassifier:
        """The teacher stays in evaluation mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For a copy: what was taught belongs to one batch."""
        return {**super().__getstate__(), "_taught": None}

    @torch.no_grad()
    def _teach(self, inputs: Tensor) -> Tensor:
        """The teacher's class scores, computed once a batch: the second pass sees the same."""
        known = self._taught
        if not (in_second_pass() and known is not None and known[0] is inputs):
            known = inputs, self.teacher(inputs)
        self._taught = known
        return known[1]
