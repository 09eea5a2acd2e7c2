"""The selective batch sampler as ``train_dataloader.batch_sampler`` of an MMEngine config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from ausam_core import batch_sampler
from ausam_core.batch import Batch
from ausam_core.errors import AusamError
from ausam_core.mmengine.build import build_selection
from ausam_core.selection import Selection


@DATA_SAMPLERS.register_module()
class SelectiveBatchSampler(batch_sampler.SelectiveBatchSampler):
    """:class:`ausam_core.SelectiveBatchSampler`, built from a config.

    MMEngine gives the sampler and takes ``batch_size`` from the loader. ``drop_last`` belongs here
    and not into the loader, which refuses it beside a batch sampler.

    Args:
        sampler: the sampler that MMEngine built; its ``dataset`` says how many samples there are.
        batch_size: K, the nominal batch.
        selection: config of the selection, or a selection.
        drop_last: leave out a last batch of fewer than K samples.
        seed: seed of the draws; by default the sampler's, which is the run's.

    Example:
        >>> train_dataloader = dict(
        ...     batch_size=64,
        ...     sampler=dict(type='DefaultSampler', shuffle=True),
        ...     batch_sampler=dict(
        ...         type='SelectiveBatchSampler',
        ...         selection=dict(type='GradientNormSelection', alpha=0.5, s_max=1.0)))
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        selection: Mapping[str, Any] | Selection,
        drop_last: bool = False,
        seed: int | None = None,
    ) -> None:
        if not hasattr(sampler, "dataset"):
            raise AusamError(
                f"{type(sampler).__name__} does not say which data set it samples; use "
                "DefaultSampler or give it an attribute dataset"
            )
        if seed is None:
            seed = getattr(sampler, "seed", 0)
        chosen = build_selection(selection, len(sampler.dataset))
        super().__init__(sampler, batch_size, chosen, drop_last=drop_last, seed=seed)
        self._attended = False

    def attend(self) -> None:
        """The hook says that it will tell the epochs and record what came of each batch."""
        self._attended = True

    def _batches(self) -> Iterator[Batch]:
        # Asked for by the first batch and not before: a loop by iterations begins its loader
        # before there is a hook, which will refuse the loop.
        if not self._attended:
            raise AusamError(
                "the SelectiveBatchSampler in train_dataloader has no AUSAMHook, without which it "
                "would never learn a score; add dict(type='AUSAMHook') to custom_hooks, in a run "
                "by epochs"
            )
        yield from super()._batches()
