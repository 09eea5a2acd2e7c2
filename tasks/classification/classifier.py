"""A classifier that gives the loss of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor

from ausam_core import el2n
from ausam_core.errors import AusamError


@MODELS.register_module()
class Classifier(BaseModel):
    """A network, cross entropy, and the loss of each sample.

    ``parse_losses`` averages the vector that ``mode='loss'`` returns, so that MMEngine sees what it
    always sees, and AUSAM's optimizer wrapper takes the vector as it is.

    Args:
        net: config of the network; maps images ``[K, 3, H, W]`` to class scores ``[K, C]``.
        data_preprocessor: config of the preprocessor.
        label_smoothing: share of the target that is spread over all classes. The paper does not
            mention it, its authors' code takes 0.1.

    Attributes:
        last_outputs: class scores of the last pass in ``mode='loss'``, for SAF and MESA.
    """

    def __init__(
        self,
        net: Mapping[str, Any],
        data_preprocessor: Mapping[str, Any] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        if not 0 <= label_smoothing < 1:
            raise AusamError(f"label_smoothing must be in [0, 1), found {label_smoothing}")
        self.net = MODELS.build(net).to(memory_format=torch.channels_last)
        self.label_smoothing = label_smoothing
        self.last_outputs: Tensor | None = None
        self._labels: Tensor | None = None

    def forward(
        self, inputs: Tensor, labels: Tensor | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | list[dict[str, Tensor]] | Tensor:
        """Run the network.

        Args:
            inputs: ``[K, 3, H, W]``.
            labels: ``[K]``, int64.
            mode: ``'loss'``: ``dict(loss=[K])``; ``'predict'``: one dict with ``scores`` ``[K, C]``
                and ``labels``, in a list; ``'tensor'``: class scores.
        """
        scores = self.net(inputs)
        if mode == "tensor":
            return scores
        if mode == "predict":
            return [dict(scores=scores, labels=labels)]
        self.last_outputs, self._labels = scores, labels
        smoothing = self.label_smoothing
        loss = F.cross_entropy(scores.float(), labels, reduction="none", label_smoothing=smoothing)
        return dict(loss=loss)

    def sample_errors(self) -> Tensor | None:
        """EL2N of each sample of the last pass in ``mode='loss'``, ``[K]``."""
        if self.last_outputs is None or self._labels is None:
            return None
        return el2n(self.last_outputs, self._labels)

    def __getstate__(self) -> dict[str, Any]:
        """For a copy: scores with a graph cannot be copied, and belong to no other pass."""
        return {**self.__dict__, "last_outputs": None, "_labels": None}
