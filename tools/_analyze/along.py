"""What selecting does to the gradients of a run, at each of its checkpoints: Figures 1 to 3.

As the paper measures: for each batch the gradient of the whole and that of the samples that a
selection chooses, at w (the ascent pass) and at w + ε, each with the ε of its own samples (the
descent pass). BatchNorm uses its running statistics and nothing is augmented, so that the loss of a
sample does not depend on the others.

Scores are made as training makes them: the difference d_i of a checkpoint is known from the next
one on, AUSAM takes the mean of those before, AUSAM-1 the latest. At the first checkpoint, where
none is known, they are those of a climb by other batches at the same weights.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from _analyze.run import Run
from _analyze.view import Batch, TrainingView, size_of
from _analyze.weights import flat_gradient, moved, perturbed_parameters
from ausam_core.batch import number_kept
from ausam_core.selection.gradient_norm import inclusion_weights
from ausam_core.selection.share import draw_without_replacement

SELECTIONS = ("random", "AUSAM-1", "AUSAM")
_S_MIN, _S_MAX = 0.1, 0.5


@dataclass
class Found:
    """Means over the batches of one checkpoint.

    Attributes:
        epoch: of the checkpoint.
        images: samples that were looked at.
        norm: ‖g‖ of the whole batch at w.
        norm_after: at w + ε.
        ascent, descent: cosine of the selected samples' gradient with the whole batch's, by
            selection.
        losses: L(w + ε) of the whole batch minus that of the selected samples, by selection.
    """

    epoch: int
    images: int
    norm: float = 0.0
    norm_after: float = 0.0
    ascent: dict[str, float] = field(default_factory=dict)
    descent: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)


class Scores:
    """Differences of the samples at the checkpoints so far, by batch."""

    def __init__(self) -> None:
        self.seen: list[list[Tensor]] = []

    def of(self, selection: str, batch: int) -> Tensor:
        """The score of each sample of a batch, ``[K]``, for what is not chosen by chance."""
        history = [checkpoint[batch] for checkpoint in self.seen]
        return history[-1] if selection == "AUSAM-1" else torch.stack(history).mean(0)


def measure(
    run: Run, scores: Scores, images: int, batch_size: int, alpha: float, rho: float, seed: int
) -> Found:
    """Measure one checkpoint, and add what it shows of the samples to the scores.

    Args:
        run: the checkpoint.
        scores: of the checkpoints before it.
        images: how many training samples, at most.
        batch_size, alpha, rho: as in training.
        seed: of the draws.
    """
    view = TrainingView(run.cfg, run.model, batch_size)
    batches = list(view.batches(max(1, images // batch_size)))
    if not scores.seen:
        scores.seen.append(first_scores(view, batches, rho))
    generator = torch.Generator().manual_seed(seed)
    rows, differences = [], []
    for number, batch in enumerate(batches):
        row, difference = _batch(view, batch, number, scores, alpha, rho, generator)
        rows.append(row)
        differences.append(difference)
    scores.seen.append(differences)
    keys = rows[0].keys()
    mean = {key: statistics.mean(row[key] for row in rows) for key in keys}
    found = Found(run.epoch, sum(map(size_of, batches)), mean["norm"], mean["norm_after"])
    for name in SELECTIONS:
        found.ascent[name] = mean[f"ascent {name}"]
        found.descent[name] = mean[f"descent {name}"]
        found.losses[name] = mean[f"losses {name}"]
    return found


def _batch(
    view: TrainingView,
    batch: Batch,
    number: int,
    scores: Scores,
    alpha: float,
    rho: float,
    generator: torch.Generator,
) -> tuple[dict[str, float], Tensor]:
    first, second, after, difference = _step(view, batch, None, rho)
    row = {"norm": float(first.norm()), "norm_after": float(second.norm())}
    size = size_of(batch)
    for name in SELECTIONS:
        chances = torch.ones(size)
        if name != "random":
            chances = inclusion_weights(scores.of(name, number), _S_MIN, _S_MAX)
        chosen = draw_without_replacement(chances, number_kept(alpha, size), generator)
        own_first, own_second, own_after, _ = _step(view, batch, chosen, rho)
        row[f"ascent {name}"] = _cosine(first, own_first)
        row[f"descent {name}"] = _cosine(second, own_second)
        row[f"losses {name}"] = after - own_after
    return row, difference


def _step(
    view: TrainingView, batch: Batch, subset: Tensor | None, rho: float
) -> tuple[Tensor, Tensor, float, Tensor]:
    """Both passes of SAM on some samples.

    Returns:
        Gradient at w and at w + ε, ``[P]``; loss at w + ε; ``|ℓ_i(w+ε) − ℓ_i(w)|``, ``[N]``.
    """
    parameters = perturbed_parameters(view.model)
    loss, before = view.losses(batch, subset)
    first = flat_gradient(loss, parameters)
    with moved(parameters, first * (rho / first.norm().clamp(min=1e-12))):
        loss, after = view.losses(batch, subset)
        second = flat_gradient(loss, parameters)
    return first, second, float(loss.detach()), (after - before).abs()


def first_scores(view: TrainingView, batches: Sequence[Batch], rho: float) -> list[Tensor]:
    """|Δℓ_i| where each batch climbs by the gradient of the next one."""
    parameters = perturbed_parameters(view.model)
    found = []
    for number, batch in enumerate(batches):
        other = batches[(number + 1) % len(batches)]
        gradient = flat_gradient(view.losses(other)[0], parameters)
        with torch.no_grad():
            before = view.losses(batch)[1]
            with moved(parameters, gradient * (rho / gradient.norm().clamp(min=1e-12))):
                found.append((view.losses(batch)[1] - before).abs())
    return found


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()).clamp(min=1e-12))
