"""No update of any optimizer throws a step across zero, in a loop that knows nothing of it."""

import copy

import pytest
import torch
import torch.nn.functional as F

from tasks.qat.steps import FLOOR
from tests.tasks.qat.nets import CLASSES, images, quantized


class Sets(torch.optim.SGD):
    """An optimizer that puts steps wherever it is told."""

    def __init__(self, network, **values):
        super().__init__(network.parameters(), lr=0.0)
        self.network, self.values = network, values

    @torch.no_grad()
    def step(self, closure=None):
        for name, change in self.values.items():
            change(self.network.steps()[name.replace("__", ".")])


def test_a_step_changes_by_a_tenth_at_most():
    network = quantized()
    before = {n: s.detach().clone() for n, s in network.steps().items()}
    Sets(
        network,
        fc=lambda step: step.neg_(),
        conv1=lambda step: step.mul_(7.0),
        layer1__conv1=lambda step: step.mul_(1.05),
    ).step()
    after = network.steps()
    torch.testing.assert_close(after["fc"], 0.9 * before["fc"])
    torch.testing.assert_close(after["conv1"], 1.1 * before["conv1"])
    torch.testing.assert_close(after["layer1.conv1"], 1.05 * before["layer1.conv1"])


def test_a_step_that_the_loss_drives_to_zero_stays_at_the_floor_and_may_come_back():
    network = quantized()
    step = network.steps()["layer1.conv1"]
    start = step.detach().clone()
    vanish = Sets(network, layer1__conv1=lambda step: step[0].fill_(-1.0))
    for _ in range(300):
        vanish.step()
    assert step[0] == FLOOR and torch.equal(step[1:], start[1:])
    network.check_steps()
    come_back = Sets(network, layer1__conv1=lambda step: step[0].fill_(start[0]))
    for _ in range(150):
        come_back.step()
    torch.testing.assert_close(step.detach(), start)


def test_a_step_that_is_nan_stays_so_and_is_found():
    network = quantized()
    Sets(network, fc=lambda step: step[0].fill_(torch.nan)).step()
    assert network.steps()["fc"][0].isnan()


def test_steps_that_are_set_by_hand_or_loaded_stay_where_they_are():
    network, other = quantized(), quantized(seed=3)
    network.load_state_dict(other.state_dict())
    with torch.no_grad():
        network.steps()["fc"].mul_(5.0)
    Sets(network).step()
    assert torch.equal(network.steps()["fc"], 5.0 * other.steps()["fc"])


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.AdamW])
def test_adam_at_a_thousandth_keeps_every_step_positive_in_a_plain_loop(optimizer, copied):
    network = quantized().train()
    if copied:
        network = copy.deepcopy(network)
    optimizer = optimizer(network.parameters(), lr=3e-3)
    labels = torch.arange(16) % CLASSES
    for i in range(20):
        F.cross_entropy(network(images(seed=i)), labels).backward()
        before = {n: s.detach().clone() for n, s in network.steps().items()}
        optimizer.step()
        optimizer.zero_grad()
        for name, step in network.steps().items():
            assert ((step / before[name] - 1).abs() < 0.1001).all(), name
    network.check_steps()


def test_an_optimizer_of_other_parameters_pays_nothing(monkeypatch):
    """The guard hangs on every optimizer of the process, and minds those that hold its steps."""
    from tasks.qat import step_guard

    asked = []
    monkeypatch.setattr(step_guard, "limit_change", lambda *a: asked.append(a))
    network = quantize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), X)
    other = nn.Linear(2, 2)
    other(torch.ones(1, 2)).sum().backward()
    torch.optim.SGD(other.parameters(), lr=0.1).step()
    assert not asked
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert len(asked) == 1
