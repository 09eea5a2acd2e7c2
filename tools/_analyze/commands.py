"""What each word of tools/analyze.py does: measure, draw, and give the numbers."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from _analyze import figures
from _analyze.along import SELECTIONS, Found, Scores, measure
from _analyze.chosen import save_sheets, scores_of, times_scored
from _analyze.estimates import TRUTHS, measure_estimates
from _analyze.hessian import hessian_product, largest_eigenvalues
from _analyze.run import Run, by_folder, load_run
from _analyze.sharpness import sharpness
from _analyze.surface import surface
from _analyze.view import TrainingView, size_of
from _analyze.weights import perturbed_parameters
from ausam_core.errors import AusamError

Numbers = dict[str, Any]


def gradients(args: argparse.Namespace) -> Numbers:
    """Figure 1: do the selected samples point where the whole batch points?"""
    found = _along(args)
    figure, axes = figures.panels(
        2, "Cosine of the selected samples' gradient with the whole batch's", _said(args, found)
    )
    for one, what, title in zip(
        axes, ("ascent", "descent"), ("ascent pass, at w", "descent pass, at w + ε"), strict=True
    ):
        figures.draw_lines(one, _by_selection(found, what), title, "epoch", "cosine")
    figures.save(figure, args.picture)
    return _numbers(found)


def norms(args: argparse.Namespace) -> Numbers:
    """Figure 2: the norm of the gradient over training."""
    found = _along(args)
    figure, axes = figures.panels(2, "Norm of a batch's gradient", _said(args, found))
    for one, what, title in zip(axes, ("norm", "norm_after"), ("at w", "at w + ε"), strict=True):
        lines = {
            label: ([f.epoch for f in rows], [getattr(f, what) for f in rows])
            for label, rows in found.items()
        }
        figures.draw_lines(one, lines, title, "epoch", "‖g‖")
    figures.save(figure, args.picture)
    return _numbers(found)


def losses(args: argparse.Namespace) -> Numbers:
    """Figure 3: do the selected samples find a higher loss nearby than the whole batch?"""
    found = _along(args)
    title = "Perturbation loss of the whole batch minus that of the selected samples"
    figure, (axes,) = figures.panels(1, title, _said(args, found), size=(7.5, 3.8))
    figures.draw_lines(axes, _by_selection(found, "losses"), "", "epoch", "L(w + ε), difference")
    axes.axhline(0, color="#6b7280", lw=0.8)
    figures.save(figure, args.picture)
    return _numbers(found)


def estimates(args: argparse.Namespace) -> Numbers:
    """How far the scores put samples in the order of their gradients."""
    label, paths = _one_folder(args, "estimates are")
    known, found = Scores(), []
    for path in paths:
        run = load_run(path, args.cfg_options)
        run.check_weights()
        found.append(measure_estimates(run, known, args.images, args.batch_size, args.rho[0]))
        print(f"{path}: epoch {run.epoch}", flush=True)
    figure, axes = figures.panels(
        len(TRUTHS),
        "Rank correlation of scores with the samples' own gradients",
        f"{label}; {_samples(row.images for row in found)}, batches of {args.batch_size}, "
        f"ρ = {args.rho[0]:g}",
    )
    epochs = [one.epoch for one in found]
    for one, truth in zip(axes, TRUTHS, strict=True):
        lines = {
            name: (epochs, [row.table[truth][name] for row in found])
            for name in found[0].table[truth]
        }
        figures.draw_lines(one, lines, truth, "epoch", "Spearman's ρ")
    figures.save(figure, args.picture)
    return {label: [asdict(row) for row in found]}


def selection(args: argparse.Namespace) -> Numbers:
    """Which samples were scored how often; the most and the least often on two sheets.

    The last of the checkpoints remembers the whole run.
    """
    _, paths = _one_folder(args, "counts are")
    run = load_run(paths[-1], args.cfg_options)
    counts = times_scored(run)
    figure, (axes,) = figures.panels(
        1,
        "How often each sample was scored",
        f"{run.label}, {len(counts):,} samples, {run.epoch} epochs; what a step trains and does "
        "not score is not counted",
    )
    figures.draw_histograms(axes, {run.label: counts.tolist()}, "", "times scored")
    figures.save(figure, args.picture)
    sheets = save_sheets(run, counts, args.picture)
    return {"run": str(run.path), "epoch": run.epoch, "times_scored": counts.tolist(), **sheets}


def scores(args: argparse.Namespace) -> Numbers:
    """How the scores are spread, at each checkpoint."""
    tables: dict[str, list[float]] = {}
    for run in _runs(args):
        values = scores_of(run)
        known = values[values.isfinite()].tolist()
        if any(value > 0 for value in known):
            tables[_name(run, tables)] = known
        else:
            print(f"{run.path}: epoch {run.epoch} knows no score above 0; left out", flush=True)
    if not tables:
        raise AusamError(
            f"no sample has a score above 0 at {args.checkpoints[-1]}; give a checkpoint of a "
            "later epoch"
        )
    figure, (axes,) = figures.panels(
        1, "Scores of the samples", "samples that were never scored are left out", (7.5, 3.8)
    )
    figures.draw_histograms(axes, tables, "", "score", log=True)
    figures.save(figure, args.picture)
    return {"scores": tables}


def sharpness_of_runs(args: argparse.Namespace) -> Numbers:
    """Eigenvalue, m-sharpness and loss surface of each checkpoint, side by side."""
    numbers: Numbers = {}
    steps = np.linspace(-args.span, args.span, args.grid).tolist()
    for run in _runs(args):
        run.check_weights()
        numbers[_name(run, numbers)] = _sharpness(run, args, steps)
    figure, axes = figures.panels(
        len(numbers) + 1,
        "How sharp the loss is",
        f"{_samples(found['images'] for found in numbers.values())}; m-sharpness: "
        f"{_samples(found['m_sharpness_images'] for found in numbers.values())} in batches of "
        f"{args.batch_size}; surfaces along two random directions, each filter as long as the "
        "weights' own, on one scale of colours",
        size=(4.4, 4.0),
    )
    figures.draw_lines(
        axes[0],
        {name: (args.rho, found["m_sharpness"]) for name, found in numbers.items()},
        "m-sharpness",
        "ρ",
        "rise of the loss",
    )
    grids = {
        f"{name}\nλ = {found['eigenvalues'][0]:.1f}": np.array(found["surface"])
        for name, found in numbers.items()
    }
    figures.draw_surfaces(axes[1:], grids, steps)
    figures.save(figure, args.picture)
    return {"rho": args.rho, "steps": steps, "runs": numbers}


def _sharpness(run: Run, args: argparse.Namespace, steps: list[float]) -> Numbers:
    parameters = perturbed_parameters(run.model)
    chunks = TrainingView(run.cfg, run.model, args.chunk)
    count = max(1, args.images // args.chunk)
    images = sum(size_of(batch) for batch in chunks.batches(count))

    def losses() -> Iterator[tuple[float, Tensor]]:
        for batch in chunks.batches(count):
            yield size_of(batch) / images, chunks.losses(batch)[0]

    def loss() -> float:
        return sum(weight * float(value) for weight, value in losses())

    with torch.no_grad():
        at_w = loss()
    if not math.isfinite(at_w):
        raise AusamError(
            f"the loss of {run.path} on its training samples is {at_w}, so it has no sharpness; "
            "give a checkpoint from before its training diverged"
        )
    product = hessian_product(losses, parameters)
    size = sum(parameter.numel() for parameter in parameters)
    found = largest_eigenvalues(product, size, args.eigenvalues, seed=args.seed)
    for value, error in zip(*found, strict=True):
        if error > 1e-2 * abs(value):
            print(f"warning: eigenvalue {value:.4g} of {run.path} is known to {error:.2g} only")
    view = TrainingView(run.cfg, run.model, args.batch_size)
    rises, looked_at = [], 0
    for batch in view.batches(max(1, args.images // args.batch_size)):
        looked_at += size_of(batch)
        rises.append(sharpness(lambda batch=batch: view.losses(batch)[0], parameters, args.rho))
    return {
        "run": str(run.path),
        "images": images,
        "m_sharpness_images": looked_at,
        "loss": at_w,
        "eigenvalues": found.values,
        "eigenvalue_errors": found.errors,
        "m_sharpness": [statistics.mean(column) for column in zip(*rises, strict=True)],
        "surface": surface(loss, parameters, steps, args.seed),
    }


def _along(args: argparse.Namespace) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {}
    for label, paths in by_folder(args.checkpoints).items():
        known, found[label] = Scores(), []
        for path in paths:
            run = load_run(path, args.cfg_options)
            run.check_weights()
            found[label].append(
                measure(
                    run, known, args.images, args.batch_size, args.alpha, args.rho[0], args.seed
                )
            )
            print(f"{path}: epoch {run.epoch}", flush=True)
    return found


def _runs(args: argparse.Namespace) -> Iterator[Run]:
    for paths in by_folder(args.checkpoints).values():
        for path in paths:
            yield load_run(path, args.cfg_options)


def _one_folder(args: argparse.Namespace, what: str) -> tuple[str, list[Path]]:
    (one, *more) = by_folder(args.checkpoints).items()
    if more:
        raise AusamError(
            f"{what} those of one run, found {len(more) + 1} folders; give checkpoints of one of "
            "them"
        )
    return one


def _name(run: Run, taken: Mapping[str, Any]) -> str:
    """What a checkpoint is called; a run by iterations may have several in an epoch."""
    name = f"{run.label}, epoch {run.epoch}"
    return name if name not in taken else f"{name}, iteration {run.iteration}"


def _samples(counts: Iterable[int]) -> str:
    """How many there were, which may be fewer than --images asks for."""
    found = sorted(set(counts))
    return f"{' to '.join(f'{n:,}' for n in found[:1] + found[1:][-1:])} training samples"


def _by_selection(found: dict[str, list[Found]], what: str) -> dict[str, figures.Line]:
    several = len(found) > 1
    return {
        f"{label}: {name}" if several else name: (
            [f.epoch for f in rows],
            [getattr(f, what)[name] for f in rows],
        )
        for label, rows in found.items()
        for name in SELECTIONS
    }


def _said(args: argparse.Namespace, found: dict[str, list[Found]]) -> str:
    return (
        f"{', '.join(found)}; {_samples(row.images for rows in found.values() for row in rows)}, "
        f"batches of {args.batch_size}, "
        f"α = {args.alpha:g}, ρ = {args.rho[0]:g}"
    )


def _numbers(found: dict[str, list[Found]]) -> Numbers:
    return {label: [asdict(row) for row in rows] for label, rows in found.items()}
