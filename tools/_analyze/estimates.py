"""What a score says of a sample's gradient, at each checkpoint of a run: rank correlations.

AUSAM takes ``d_i = |ℓ_i(w+ε) − ℓ_i(w)|`` for an estimate of the sample's gradient norm. To first
order d_i is ``ρ·|∇ℓ_i·g|/‖g‖``: not the norm, but the part along the batch's gradient. Here both
are computed sample by sample, at w and at w + ε, and the order in which each estimate puts the
samples of a batch is compared with theirs (Spearman).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from _analyze.along import Scores, first_scores
from _analyze.run import Run
from _analyze.view import Batch, TrainingView, size_of
from _analyze.weights import flat_gradient, moved, perturbed_parameters
from ausam_core.sample_error import SampleErrorRecorder

TRUTHS = ("norm at w", "norm at w + ε", "part along g")
"""‖∇ℓ_i(w)‖, ‖∇ℓ_i(w+ε)‖ and |∇ℓ_i(w)·g|/‖g‖."""

Table = dict[str, dict[str, float]]
"""Correlation by truth and estimate."""


@dataclass
class Correlations:
    """Means over the batches of one checkpoint.

    Attributes:
        epoch: of the checkpoint.
        images: samples that were looked at.
        table: ``table[truth][estimate]``, in [−1, 1]. Estimates: ``difference``, d_i in this very
            step; ``AUSAM`` and ``AUSAM-1``, what is known of it from the checkpoints before;
            ``loss``, ℓ_i(w); ``EL2N``, where the model's loss shows it.
    """

    epoch: int
    images: int
    table: Table


def measure_estimates(
    run: Run, scores: Scores, images: int, batch_size: int, rho: float
) -> Correlations:
    """Measure one checkpoint, and add what it shows of the samples to the scores.

    Time: two forward and backward passes of each sample alone.

    Args:
        run: the checkpoint.
        scores: of the checkpoints before it.
        images: how many training samples, at most.
        batch_size, rho: as in training.
    """
    view = TrainingView(run.cfg, run.model, batch_size)
    batches = list(view.batches(max(1, images // batch_size)))
    if not scores.seen:
        scores.seen.append(first_scores(view, batches, rho))
    tables, differences = [], []
    for number, batch in enumerate(batches):
        known = {name: scores.of(name, number) for name in ("AUSAM", "AUSAM-1")}
        table, difference = _batch(view, batch, known, rho)
        tables.append(table)
        differences.append(difference)
    scores.seen.append(differences)
    return Correlations(run.epoch, sum(map(size_of, batches)), _mean(tables))


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two vectors ``[N]``; ties keep their order, a constant gives 0."""
    if bool((a == a[0]).all()) or bool((b == b[0]).all()):
        return 0.0
    ranks = torch.stack([v.argsort(stable=True).argsort() for v in (a, b)]).double()
    return float(torch.corrcoef(ranks)[0, 1])


def _batch(
    view: TrainingView, batch: Batch, known: dict[str, Tensor], rho: float
) -> tuple[Table, Tensor]:
    parameters = perturbed_parameters(view.model)
    loss, before = view.losses(batch)
    g = flat_gradient(loss, parameters)
    g = g / g.norm().clamp(min=1e-12)
    norms, along = _of_each(view, batch, parameters, lambda own: (own.norm(), (own @ g).abs()))
    estimates = {**known, "loss": before}
    errors = _errors(view, batch)
    if errors is not None:
        estimates["EL2N"] = errors
    with moved(parameters, rho * g):
        with torch.no_grad():
            after = view.losses(batch)[1]
        (norms_after,) = _of_each(view, batch, parameters, lambda own: (own.norm(),))
    difference = (after - before).abs()
    estimates["difference"] = difference
    truths = dict(zip(TRUTHS, (norms, norms_after, along), strict=True))
    table = {
        truth: {name: spearman(estimate, values) for name, estimate in estimates.items()}
        for truth, values in truths.items()
    }
    return table, difference


def _of_each(
    view: TrainingView,
    batch: Batch,
    parameters: list[nn.Parameter],
    read: Callable[[Tensor], tuple[Tensor, ...]],
) -> list[Tensor]:
    """Numbers of each sample's own gradient, one gradient ``[P]`` in memory at a time."""
    rows = []
    for i in range(size_of(batch)):
        loss = view.losses(batch, torch.tensor([i]))[0]
        rows.append(torch.stack(read(flat_gradient(loss, parameters))))
    return list(torch.stack(rows, dim=1).cpu())


@torch.no_grad()
def _errors(view: TrainingView, batch: Batch) -> Tensor | None:
    """EL2N of each sample, ``[N]``; None where the model does not show it."""
    recorder = SampleErrorRecorder(view.model)
    recorder.start()
    view.losses(batch)
    return recorder.errors()


def _mean(tables: list[Table]) -> Table:
    return {
        truth: {name: statistics.mean(t[truth][name] for t in tables) for name in row}
        for truth, row in tables[0].items()
    }
