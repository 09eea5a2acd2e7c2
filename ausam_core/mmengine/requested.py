"""A loader whose batches know which samples were asked for.

The identity of a sample is the index that the loader asked its data set for, not what the sample
says of itself: so concatenated, repeated, combined and sliced data sets each keep theirs, and any
data set will do. The indices travel with the batch, as an attribute of the same dict or list, so
models, collate functions and other hooks see what they saw before.

Chance in loading can be made a function of (seed, epoch, index) at the same place: a sample is then
augmented alike whatever else is selected, however many workers there are, and whether the run was
resumed. MMEngine by itself seeds a worker once; a resumed run starts its workers again, and from
there on augments otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from ausam_core.mmengine.random_state import seed_all
from ausam_core.random_state import capture_random_state, restore_random_state, seed_of


class RequestedDict(dict[Any, Any]):
    """A batch in a dict, and the samples that were asked for."""

    indices: list[int]


class RequestedList(list[Any]):
    """A batch in a list, and the samples that were asked for."""

    indices: list[int]


def indices_of(data_batch: Any) -> list[int] | None:
    """The samples that were asked for, in the order of the batch; None where it does not tell."""
    return getattr(data_batch, "indices", None) if _carries(data_batch) else None


def carrying(data_batch: Any, indices: list[int]) -> Any:
    """The batch with its indices; as it is where its kind cannot carry any."""
    if type(data_batch) is dict:
        data_batch = RequestedDict(data_batch)
    elif type(data_batch) in (list, tuple):
        data_batch = RequestedList(data_batch)
    if _carries(data_batch):
        data_batch.indices = indices
    return data_batch


class _RequestedDataset:
    """Gives (index, sample), with chance keyed to the index if asked to."""

    def __init__(self, dataset: Any, key: Tensor | None) -> None:
        self.dataset, self.key = dataset, key
        if hasattr(dataset, "__getitems__"):
            self.__getitems__ = self._several

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        with self._chance(index):
            return index, self.dataset[index]

    def _several(self, indices: list[int]) -> list[tuple[int, Any]]:
        if self.key is None:
            return list(zip(indices, self.dataset.__getitems__(indices), strict=True))
        return [self[i] for i in indices]

    @contextmanager
    def _chance(self, index: int) -> Iterator[None]:
        if self.key is None:
            yield
            return
        # In the training process itself the model's own randomness must not notice.
        kept = capture_random_state() if get_worker_info() is None else None
        seed, epoch = self.key.tolist()
        seed_all(seed_of(seed, epoch, index))
        try:
            yield
        finally:
            if kept is not None:
                restore_random_state(kept)


class _RequestedCollate:
    """Collates the samples as before, and hands their indices on."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: list[tuple[int, Any]]) -> Any:
        indices, values = zip(*samples, strict=True)
        return carrying(self.collate(list(values)), list(indices))


class _RequestingLoader(DataLoader[Any]):
    """Mixed into a loader's class: lends its iterators the data set and collate function above.

    Whoever looks at the loader sees its own data set, and may replace its pipeline at any time.
    """

    ausam_key: Tensor | None

    def __iter__(self) -> Any:
        dataset, collate = self.dataset, self.collate_fn
        # DataLoader refuses a new data set after its construction; this one is only lent.
        vars(self).update(
            dataset=_RequestedDataset(dataset, self.ausam_key),
            collate_fn=_RequestedCollate(collate),
        )
        try:
            return super().__iter__()
        finally:
            vars(self).update(dataset=dataset, collate_fn=collate)


def let_batches_tell(loader: DataLoader[Any], key: Tensor | None = None) -> None:
    """Make the batches of a loader carry their indices, from its next iterator on.

    Args:
        loader: a ``DataLoader`` over a data set with indices; changed in place.
        key: int64 tensor (seed, epoch) in shared memory, so that persistent workers see it move;
            with it chance in loading is a function of (seed, epoch, index).
    """
    if not isinstance(loader, _RequestingLoader):
        own = type(loader)
        loader.__class__ = type(own.__name__, (_RequestingLoader, own), {"ausam_key": None})
    if key is not None:
        vars(loader)["ausam_key"] = key


def _carries(data_batch: Any) -> bool:
    return isinstance(data_batch, (RequestedDict, RequestedList))
