"""A data pipeline that knows which sample it works on.

It serves two ends. The packed sample carries its index, so that a selection inside the loop and
the scores know whom they deal with. And chance in the pipeline is a function of (seed, epoch,
index): a sample is augmented alike whatever else is selected, however many workers there are, and
whether the run was resumed. MMEngine by itself seeds a worker once; a resumed run starts its
workers anew, and from there on augments otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import get_worker_info

from ausam_core.mmengine.random_state import (
    capture_random_state,
    restore_random_state,
    seed_all,
)

INDEX = "ausam_index"
"""Key of the sample's index in the metainfo of a packed data sample."""


class KeyedPipeline:
    """Goes around the pipeline of a :class:`mmengine.dataset.BaseDataset`.

    Args:
        pipeline: the pipeline.
        key: int64 tensor (seed, epoch) in shared memory, so that persistent workers see it move.
        offset: added to the data set's own index (a data set inside a concatenation).
        keyed_randomness: seed the generators for each sample.
    """

    def __init__(
        self,
        pipeline: Callable[[dict[str, Any]], Any],
        key: Tensor,
        offset: int = 0,
        keyed_randomness: bool = True,
    ) -> None:
        self.pipeline, self.key = pipeline, key
        self.offset, self.keyed_randomness = offset, keyed_randomness

    def __call__(self, data_info: dict[str, Any]) -> Any:
        index = data_info["sample_idx"] + self.offset
        if not self.keyed_randomness:
            packed = self.pipeline(data_info)
        elif get_worker_info() is not None:
            seed_all(self._seed_of(index))
            packed = self.pipeline(data_info)
        else:
            # In the training process itself the model's own randomness must not notice.
            kept = capture_random_state()
            seed_all(self._seed_of(index))
            try:
                packed = self.pipeline(data_info)
            finally:
                restore_random_state(kept)
        sample = packed.get("data_samples") if isinstance(packed, Mapping) else None
        if isinstance(sample, BaseDataElement):
            sample.set_metainfo({INDEX: index})
        return packed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "pipeline":
            raise AttributeError(name)
        return getattr(self.pipeline, name)

    def _seed_of(self, index: int) -> int:
        seed, epoch = self.key.tolist()
        text = f"{seed}/{epoch}/{index}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def key_dataset(dataset: Any, key: Tensor, keyed_randomness: bool = True) -> bool:
    """Put a :class:`KeyedPipeline` into a data set, or into those that it concatenates.

    Returns:
        Whether that was possible; data sets that repeat or rearrange samples are left alone.
    """
    if getattr(dataset, "is_keyed", False):
        return True  # its augmentation is a function of (seed, epoch, index) by itself
    if isinstance(dataset, ConcatDataset):
        parts = list(dataset.datasets)
        offsets = [0, *dataset.cumulative_sizes[:-1]]
    else:
        parts, offsets = [dataset], [0]
    if not all(isinstance(part, BaseDataset) for part in parts):
        return False
    for part, offset in zip(parts, offsets, strict=True):
        if not isinstance(part.pipeline, KeyedPipeline):
            part.pipeline = KeyedPipeline(part.pipeline, key, offset, keyed_randomness)
    return True


def indices_of(data_batch: Any) -> list[int] | None:
    """The indices that the samples of a collated batch carry, or None where they carry none.

    They stand in the data samples, or, for data that is on the device already, are the batch:
    ``dict(index=LongTensor[K])``.
    """
    if not isinstance(data_batch, Mapping):
        return None
    if isinstance(data_batch.get("index"), Tensor):
        return data_batch["index"].tolist()
    samples = data_batch.get("data_samples")
    if not isinstance(samples, (list, tuple)) or not samples:
        return None
    found = [s.metainfo.get(INDEX) for s in samples if isinstance(s, BaseDataElement)]
    return None if len(found) < len(samples) or None in found else found


def batch_length(data_batch: Any) -> int:
    """How many samples a collated batch holds; 0 where it does not tell."""
    if isinstance(data_batch, Mapping):
        data_batch = list(data_batch.values())
    lengths = [len(v) for v in data_batch if isinstance(v, (list, tuple)) or torch.is_tensor(v)]
    return lengths[0] if lengths else 0


def take(data_batch: dict[str, Any], positions: Tensor) -> None:
    """Keep only some samples of a collated batch, in place."""
    data_batch.update(part_of_batch(dict(data_batch), positions, batch_length(data_batch)))


def part_of_batch(value: Any, positions: Tensor, size: int) -> Any:
    """Some samples of whatever holds a batch: a tensor or a list of its length, or a dict of such.

    Args:
        value: a batch, or a part of one.
        positions: the samples to keep, ``[N']``, int64.
        size: number of samples in the batch.
    """
    if isinstance(value, Tensor):
        return value[positions.to(value.device)] if value.dim() and len(value) == size else value
    if isinstance(value, Mapping):
        return {k: part_of_batch(v, positions, size) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and len(value) == size:
        return type(value)(value[i] for i in positions.tolist())
    if isinstance(value, (list, tuple)):
        return type(value)(part_of_batch(v, positions, size) for v in value)
    return value
