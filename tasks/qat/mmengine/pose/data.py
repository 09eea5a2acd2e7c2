"""The persons that a quantized estimator is tested on, and the PCKh of several networks on them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from ausam_core.errors import AusamError
from tasks.qat.mmengine.float_checkpoint import read_state
from tasks.qat.mmengine.pose.estimator import QuantizedPoseEstimator

Answer = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From images to both outputs of a SimCC head."""
METRIC = "PCK"
"""Under MPII's head boxes it is PCKh@0.5."""
_OURS = ("policy", "float_checkpoint", "from_scratch")


def data_facts(model: QuantizedPoseEstimator) -> dict[str, str]:
    """What whoever runs the network must know of its data, for a file: as JSON, by name.

    Args:
        model: of :func:`~tasks.qat.mmengine.checkpoint.load_quantized`.

    Returns:
        ``mean`` and ``std`` of the pixel values (0 to 255), RGB; the ``codec``, which says how bins
        become pixels of the cropped person; the names of the ``joints``.
    """
    settings = model.cfg.model
    joints = list(_loader(model, 1).dataset.metainfo["keypoint_id2name"].values())
    facts = dict(
        mean=settings.data_preprocessor.mean,
        std=settings.data_preprocessor.std,
        codec=settings.head.decoder.to_dict(),
        joints=joints,
    )
    return {name: json.dumps(value) for name, value in facts.items()}


def test_batches(
    model: QuantizedPoseEstimator, images: int | None = None
) -> Iterator[tuple[Tensor, None, None]]:
    """Normalised persons ``[N, 3, H, W]`` of the test set; in place of labels and pixels, None.

    Args:
        model: of :func:`~tasks.qat.mmengine.checkpoint.load_quantized`.
        images: how many of them; all by default.
    """
    for batch in _loader(model, images):
        yield model.data_preprocessor(batch, training=False)["inputs"].contiguous(), None, None


def float_answer(model: QuantizedPoseEstimator) -> Answer | None:
    """The float estimator that training started from, or None without one or where it is gone.

    Raises:
        AusamError: for a checkpoint of something else.
    """
    config = model.cfg.model
    path = config.get("float_checkpoint")
    if config.get("from_scratch") or path is None or not Path(path).is_file():
        return None
    settings = {k: v for k, v in config.items() if k not in _OURS}
    estimator: Any = MODELS.build({**settings, "type": "TopdownPoseEstimator"}).eval()
    missing, unexpected = estimator.load_state_dict(read_state(path), strict=False)
    if missing or unexpected:
        raise AusamError(
            f"the float checkpoint {path} does not hold the float estimator: "
            f"{(missing + unexpected)[0]} is {'missing' if missing else 'too many'}; name it with "
            "--cfg-options model.float_checkpoint=FILE"
        )
    return lambda images: estimator(images, None, mode="tensor")


@torch.no_grad()
def pckh(
    model: QuantizedPoseEstimator, answers: Mapping[str, Answer], images: int | None = None
) -> dict[str, float]:
    """The metric of the configuration for several networks, decoded and scored alike.

    Args:
        model: says how outputs become joints; a flip test gives each network each image twice.
        answers: the networks by name.
        images: how many of the test set; all by default.

    Returns:
        For each network the mean PCKh@0.5 over the joints, in percent.
    """
    loader = _loader(model, images)
    evaluators = {name: Evaluator(model.cfg.test_evaluator) for name in answers}
    for evaluator in evaluators.values():
        evaluator.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        data = model.data_preprocessor(batch, training=False)
        for name, answer in answers.items():
            samples = _with(model, answer).predict(**copy.deepcopy(data))
            evaluators[name].process(data_samples=samples, data_batch=batch)
    count = len(loader.dataset)
    return {name: e.evaluate(count)[METRIC] for name, e in evaluators.items()}


def _with(model: QuantizedPoseEstimator, answer: Answer) -> QuantizedPoseEstimator:
    """The same estimator around another network."""
    other = copy.copy(model)
    other.extract_feat = lambda images: tuple(answer(images.contiguous()))
    return other


def _loader(model: QuantizedPoseEstimator, images: int | None) -> DataLoader[Any]:
    """The test set of the configuration, or its first persons, read in this process."""
    settings = copy.deepcopy(model.cfg.test_dataloader)
    settings.update(num_workers=0, persistent_workers=False)
    if images is not None:
        settings.dataset.indices = images
    return Runner.build_dataloader(settings)
