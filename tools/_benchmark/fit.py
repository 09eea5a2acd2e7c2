"""Why a speed-up is what it is: ``step = o + n·(c0 + c1·B)``, from several batch sizes.

A step of ``n`` passes over ``B`` samples costs ``o`` once (data, optimizer, hooks), ``c0`` a pass
(launches, quantized weights, gradients of parameters) and ``c1`` a sample and pass. AUSAM halves
none but the last: were it all, AUSAM with α = ½ would be twice as fast as SAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

#: Passes of a step, for the methods that the formula describes.
PASSES = {"sgd": 1, "sam": 2, "ausam": 2, "random": 2}


@dataclass(frozen=True)
class Step:
    """A measured step.

    Attributes:
        passes: n, forward and backward passes.
        samples: B, samples in a pass.
        ms: its time.
    """

    passes: int
    samples: float
    ms: float


@dataclass(frozen=True)
class Fit:
    """The three costs, in milliseconds.

    Attributes:
        once: o, a step.
        per_pass: c0, a pass.
        per_sample: c1, a sample and pass.
        error: largest deviation of a measured step from the formula, as a share of the step.
    """

    once: float
    per_pass: float
    per_sample: float
    error: float

    def ms(self, passes: int, samples: float) -> float:
        """What a step should take."""
        return self.once + passes * (self.per_pass + self.per_sample * samples)


def passes_of(name: str) -> int | None:
    """Passes of a step of a method, by the name of its configuration; None where they vary."""
    if "_" in name:
        return None
    return PASSES.get(name.partition("-")[0])


def fit(steps: Sequence[Step]) -> Fit | None:
    """Least squares of relative errors; None where the steps do not tell the costs apart.

    Long steps would outweigh short ones, which alone show ``o`` and ``c0``: hence relative.
    """
    design = torch.tensor([[1, s.passes, s.passes * s.samples] for s in steps], dtype=torch.float64)
    times = torch.tensor([s.ms for s in steps], dtype=torch.float64)
    design = design / times[:, None]
    if len(steps) < 3 or torch.linalg.matrix_rank(design) < 3:
        return None
    costs = torch.linalg.lstsq(design, torch.ones(len(steps), 1, dtype=torch.float64)).solution
    error = float((design @ costs - 1).abs().max())
    return Fit(*costs.flatten().tolist(), error=error)


def describe(found: Fit, batch_size: int) -> str:
    """The costs at a batch size, and what they leave of AUSAM's limit."""
    half, whole = found.ms(2, batch_size / 2), found.ms(2, batch_size)
    return (
        f"step = o + n (c0 + c1 B): o {found.once:.1f} ms a step, c0 {found.per_pass:.1f} ms a "
        f"pass, c1 {found.per_sample:.3f} ms a sample, c1 x {batch_size} = "
        f"{batch_size * found.per_sample:.1f} ms; off by {100 * found.error:.0f} % at most. "
        f"So half the samples in two passes: {whole / half:.2f} x SAM"
    )
