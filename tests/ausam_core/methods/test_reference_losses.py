"""The first twenty losses of a seeded run of every method: what a change of code must not change.

``python -m tests.ausam_core.methods.test_reference_losses`` writes them anew, for a change that is
meant to.
"""

from pathlib import Path

import pytest
import torch

from tests.ausam_core.methods.test_all_methods import METHODS, batches, run, start

FOLDER = Path(__file__).parent / "reference_losses"
STEPS = 20


def losses_of(name):
    """Losses of pass 1, and of pass 2 where there is one, of the first steps."""
    torch.manual_seed(0)
    model, method = start(name)
    lines = []
    for result in run(model, method, list(batches(7))[:STEPS]):
        values = [result.loss, *([] if result.after is None else [result.after.nanmean()])]
        lines.append(" ".join(f"{float(v):.7f}" for v in values))
    return lines


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_those_on_file(name):
    expected = (FOLDER / f"{name}.txt").read_text().splitlines()
    found = losses_of(name)
    assert len(found) == len(expected) == STEPS
    for step, (a, b) in enumerate(zip(found, expected, strict=True)):
        # Processors round differently, and twenty steps let it grow.
        numbers = [[float(x) for x in line.split()] for line in (a, b)]
        assert numbers[0] == pytest.approx(numbers[1], rel=2e-4, abs=2e-5), f"step {step}"


def main():
    FOLDER.mkdir(exist_ok=True)
    for name in METHODS:
        (FOLDER / f"{name}.txt").write_text("\n".join(losses_of(name)) + "\n")


if __name__ == "__main__":
    main()
