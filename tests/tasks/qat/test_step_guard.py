"""No update throws a step across zero."""

import torch

from tasks.qat.step_guard import LEAST_STEP, StepGuard
from tests.tasks.qat.nets import quantized


def test_a_step_changes_by_a_tenth_at_most():
    network = quantized()
    before = {n: s.detach().clone() for n, s in network.steps().items()}
    guard = StepGuard(network)
    with torch.no_grad():
        network.steps()["fc"].neg_()
        network.steps()["conv1"].mul_(7.0)
        network.steps()["layer1.conv1"].mul_(1.05)
    guard.limit()
    after = network.steps()
    torch.testing.assert_close(after["fc"], 0.9 * before["fc"])
    torch.testing.assert_close(after["conv1"], 1.1 * before["conv1"])
    torch.testing.assert_close(after["layer1.conv1"], 1.05 * before["layer1.conv1"])
    guard.limit()
    torch.testing.assert_close(after["fc"], 0.9 * before["fc"])


def test_a_step_that_the_loss_drives_to_zero_stays_at_the_floor_and_may_come_back():
    network = quantized()
    guard, step = StepGuard(network), network.steps()["layer1.conv1"]
    start = step.detach().clone()
    for _ in range(300):
        step.data[0] = -1.0
        guard.limit()
    assert step[0] == LEAST_STEP and torch.equal(step[1:], start[1:])
    network.check_steps()
    for _ in range(150):
        step.data[0] = start[0]
        guard.limit()
    torch.testing.assert_close(step.detach(), start)


def test_a_step_that_is_nan_stays_so_and_is_found():
    network = quantized()
    guard = StepGuard(network)
    network.steps()["fc"].data[0] = torch.nan
    guard.limit()
    assert network.steps()["fc"][0].isnan()
