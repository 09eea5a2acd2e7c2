"""What the two tests of a package share: a project's run, and the same score by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from tests.reuse.by_hand import scores_by_hand
from tests.reuse.projects import RHO, FirstBatch, N, choice_of, runner_of


def check_scores(
    cfg: Config, work_dir: Path, lines: Callable[[Config], None], within: float = 0.05
) -> None:
    """Train one step; what AUSAM remembers of each sample is |ℓ(w + ε) − ℓ(w)| by hand.

    Args:
        within: share of the scores' standard deviation by which each may differ.
    """
    first = FirstBatch()
    runner = runner_of(cfg, work_dir, lines, first)
    runner.train()
    scores = choice_of(runner).selection.scores.of(torch.arange(N))
    assert scores.isfinite().all(), "a sample was not seen"

    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.load_state_dict(first.state)
    expected = scores_by_hand(model, first.batch, RHO)
    indices = torch.tensor(choice_of_order(runner))
    assert expected.std() > 1e-2 * expected.mean() > 0, expected
    spread = float(expected.std())
    torch.testing.assert_close(scores[indices].float(), expected, rtol=0, atol=within * spread)


def check_resume(cfg: Config, work_dir: Path, lines: Callable[[Config], None]) -> None:
    """Two epochs, a new process's runner, a third: to the bit what three epochs give."""
    whole, first, second = FirstBatch(), FirstBatch(), FirstBatch()
    settings = dict(size=2 * N, save=True)
    runner_of(cfg, work_dir / "whole", lines, whole, epochs=3, **settings).train()
    runner_of(cfg, work_dir / "parts", lines, first, epochs=2, **settings).train()
    resumed = runner_of(cfg, work_dir / "parts", lines, second, epochs=3, resume=True, **settings)
    resumed.train()
    assert len(whole.weights) == 6 and len(second.weights) == 2
    assert not torch.equal(second.weights[0], second.weights[1])
    for expected, found in zip(whole.weights[4:], second.weights, strict=True):
        assert torch.equal(expected, found)
    assert torch.equal(
        choice_of(resumed).selection.scores.of(torch.arange(2 * N)).isfinite(),
        torch.ones(2 * N, dtype=torch.bool),
    )


def choice_of_order(runner: Runner) -> list[int]:
    """The samples of the first batch, in its order."""
    loader = runner.train_loop.dataloader
    inner = getattr(loader.batch_sampler, "sampler", loader.sampler)
    inner.set_epoch(0)
    return list(inner)
