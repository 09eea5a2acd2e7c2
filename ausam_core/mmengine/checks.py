"""What AUSAM cannot work with in an MMEngine run, refused by name before the first step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ausam_core.errors import AusamError
from ausam_core.selection import AllSamples, InfoBatchSelection, Selection

# Augmentations that make one picture of several: a loss of such a picture belongs to no sample.
# AugMix mixes augmentations of one picture and is harmless.
_MIXES = re.compile(r"mixup|cutmix|resizemix|mosaic|copypaste|yoloxmix", re.IGNORECASE)


def check_conflicts(
    own_wrapper: bool, brings: Sequence[str], own_sampler: bool, given: Sequence[str]
) -> None:
    """Refuse a setting that stands in two places."""
    if own_wrapper and brings:
        raise AusamError(
            f"AUSAMHook got {', '.join(brings)}, but the optim_wrapper has a method of its own; "
            "set it in one place, optim_wrapper"
        )
    if own_sampler and given:
        raise AusamError(
            f"AUSAMHook got {', '.join(given)}, but train_dataloader has a SelectiveBatchSampler "
            "with a selection of its own; set it in one place, batch_sampler.selection"
        )


def check_runner(runner: Any) -> None:
    """Refuse a runner that hands model and wrapper to a strategy before its hooks see them."""
    if not isinstance(runner, Runner):
        raise AusamError(
            f"{type(runner).__name__} lets a strategy prepare the optimizer wrapper, before a hook "
            "could join a method to it; use mmengine's Runner, with several GPUs by "
            "DistributedDataParallel"
        )


def check_alone(hooks: Sequence[Any], hook: Any) -> None:
    """Refuse a second hook that would join a method to the same wrapper."""
    if sum(isinstance(other, type(hook)) for other in hooks) > 1:
        raise AusamError(
            f"there are two hooks {type(hook).__name__} in this run; leave one, with the settings "
            "of both"
        )


def check_dataset(dataset: Any) -> None:
    """Refuse a stream, whose samples have no numbers and whose epochs no end."""
    if not hasattr(dataset, "__len__"):
        raise AusamError(
            f"{type(dataset).__name__} has no length, so AUSAM can neither number its samples nor "
            "count epochs; take a data set that has one, or SAMOptimWrapper without the hook"
        )


def check_loop(train_loop: Any, plans_batches: bool, chosen: Selection) -> None:
    """Refuse a loop that cannot tell what a selection has to know.

    Args:
        train_loop: of the run.
        plans_batches: whether batches are chosen before they are loaded, an epoch at a time.
        chosen: the selection.
    """
    kind = type(train_loop).__name__
    if isinstance(train_loop, EpochBasedTrainLoop) or isinstance(chosen, AllSamples):
        return
    if not isinstance(train_loop, IterBasedTrainLoop):
        raise AusamError(
            f"{kind} is neither a loop by epochs nor one by iterations of MMEngine, so AUSAM does "
            "not know when its scores are to change; use one of those, or SAM alone with alpha=1"
        )
    if plans_batches or isinstance(chosen, InfoBatchSelection):
        what = type(chosen).__name__ if not plans_batches else "SelectiveBatchSampler"
        raise AusamError(
            f"{kind} has no epochs, and {what} plans a whole one; give the selection to AUSAMHook, "
            "which chooses from each loaded batch, or use train_cfg=dict(by_epoch=True, "
            "max_epochs=…)"
        )


def check_batch_is_not_mixed(model: nn.Module, dataset: Any) -> None:
    """Refuse Mixup, CutMix, Mosaic: the loss of a mixed picture belongs to no single sample."""
    for name in (*_batch_augments(model), *_transforms(dataset)):
        if _MIXES.search(name):
            raise AusamError(
                f"{name} mixes samples, and AUSAM needs a loss that belongs to one sample; remove "
                "it, or train by SAM alone with alpha=1"
            )


def check_schedule(schedulers: Any, chosen: Selection) -> None:
    """Refuse a learning-rate schedule in iterations where their number is not known beforehand."""
    if not isinstance(chosen, InfoBatchSelection):
        return
    each = schedulers.values() if isinstance(schedulers, Mapping) else [schedulers or []]
    for scheduler in (s for group in each for s in group):
        if not scheduler.by_epoch:
            raise AusamError(
                f"InfoBatchSelection makes fewer batches in some epochs than in others, so "
                f"{type(scheduler).__name__} cannot count iterations; give it by_epoch=True"
            )


def batch_size_of(loader: DataLoader[Any]) -> int | None:
    """K of a loader whose batch sampler is not ours; None where it does not batch."""
    return getattr(loader.batch_sampler, "batch_size", None) or loader.batch_size


def nominal_batch_size(loader: DataLoader[Any]) -> int:
    """K of a loader from whose batches samples are to be chosen."""
    size = batch_size_of(loader)
    if size is None:
        raise AusamError(
            "the training loader does not batch its samples (batch_size=None), so AUSAM cannot "
            "choose among them; give it a batch_size"
        )
    return size


def _batch_augments(model: nn.Module) -> Iterator[str]:
    inner = model.module if is_model_wrapper(model) else model
    augments = getattr(getattr(inner, "data_preprocessor", None), "batch_augments", None)
    for augment in [] if augments is None else _each(augments):
        yield type(augment).__name__
        yield from (type(a).__name__ for a in _each(getattr(augment, "augments", [])))


def _transforms(dataset: Any) -> Iterator[str]:
    yield type(dataset).__name__ if "Mix" in type(dataset).__name__ else ""
    yield from _names_in(getattr(dataset, "pipeline", None))
    for inner in (*getattr(dataset, "datasets", []), getattr(dataset, "dataset", None)):
        if inner is not None:
            yield from _transforms(inner)


def _names_in(transform: Any) -> Iterator[str]:
    """The transforms within one, as in a Compose, a RandomChoice or a RandomApply, however deep."""
    if isinstance(transform, (list, tuple)):
        inner = transform
    else:
        inner = getattr(transform, "transforms", None) or []
    for each in inner if isinstance(inner, (list, tuple)) else [inner]:
        if not isinstance(each, (list, tuple)):
            yield type(each).__name__
        yield from _names_in(each)


def _each(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, nn.ModuleList)) else [value]
