"""What the hook and the optimizer wrapper of one run hand each other."""

from __future__ import annotations

from dataclasses import dataclass

from ausam_core.batch import Batch
from ausam_core.step_result import StepResult


@dataclass
class Exchange:
    """Made by the hook, or by the wrapper where there is no hook; both hold the same object.

    Attributes:
        batch: from the hook: the present batch as it was planned; None where nobody chooses.
        wants_losses: from the hook: whether the selection learns from the loss of each sample.
        wants_errors: from the hook: whether it learns from EL2N.
        epochs: from the hook: epochs of the run, where it knows them.
        start: from the hook: share of the run that is left to the base optimizer.
        result: from the wrapper: what the last step left behind.
    """

    batch: Batch | None = None
    wants_losses: bool = False
    wants_errors: bool = False
    epochs: int | None = None
    start: float | None = None
    result: StepResult | None = None
