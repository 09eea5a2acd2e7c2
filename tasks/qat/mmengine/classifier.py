"""The classifier of `tasks.classification` with a quantized network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS

from tasks.classification import Classifier
from tasks.qat.convert import convert
from tasks.qat.policy import Policy


@MODELS.register_module()
class QuantizedClassifier(Classifier):
    """A :class:`~tasks.classification.Classifier` whose network is converted.

    Args:
        net, data_preprocessor, label_smoothing: of the float classifier.
        policy: settings of :class:`~tasks.qat.policy.Policy`.
        float_checkpoint: of the float classifier, or of a quantized one of other bits, whose steps
            are then chosen anew; where training starts. Read by
            :class:`~tasks.qat.mmengine.QuantizationHook` when a new run begins, and never again.
        from_scratch: start from random weights instead.

    Raises:
        AusamError: for a policy out of range, and for a layer that cannot be quantized.
    """

    def __init__(
        self,
        net: Mapping[str, Any],
        policy: Mapping[str, Any] | None = None,
        float_checkpoint: str | None = None,
        from_scratch: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(net, **kwargs)
        self.policy = Policy(**(policy or {}))
        self.float_checkpoint, self.from_scratch = float_checkpoint, from_scratch
        self.net = convert(self.net, self.policy)
